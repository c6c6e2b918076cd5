"""The paper's formulas by hand, and the three costs side by side."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from frontiers import eat_run, static_run
from studies import claim_in

from eat_lightning.model.flops import dense_flops, layer_flops
from eat_lightning.model.shape import Shape
from eat_lightning.report import figures
from eat_lightning.report.claims.cost.formulas import Expected, coefficients
from eat_lightning.report.study import open_study

claim = partial(claim_in, "cost")


def filled(window: int | None = None) -> Expected:
    """Two layers; examples of 8 and 12 tokens, halved after the first, half of them leave there."""
    tokens_L, squares_L = np.array([10.0, 5.0]), np.array([104.0, 26.0])
    return Expected(1.0, 10.0, tokens_L, squares_L, np.array([1.0, 0.5]), 0.625, window)


def test_formula_5_with_dense_attention_and_with_a_window():
    assert filled().adaptive == (104 + 10 * 10) + 0.5 * (26 + 10 * 5)
    assert filled(window=4).adaptive == (10 * 4 + 10 * 10) + 0.5 * (5 * 4 + 10 * 5)
    assert filled().terms["ratio"] == 242 / 408


def test_coefficients_are_those_of_the_counted_flops(tmp_path: Path):
    eat_run(tmp_path)
    study = open_study([str(tmp_path)])
    alpha_beta = coefficients(study, study.measured[0])
    assert alpha_beta == (16.0, 384.0)  # of width 4 and inner width 16
    shape = Shape(10, 4, num_layers=1, num_heads=1, intermediate_size=16, max_positions=10)
    tokens_LB = np.full((1, 1), 10)
    counted = layer_flops(shape, tokens_LB, tokens_LB, dense_flops(shape, tokens_LB))
    assert counted.item() == 16.0 * 100 + 384.0 * 10


def test_costs_side_by_side(tmp_path: Path):
    static_run(tmp_path)
    eat_run(tmp_path)
    found = claim(tmp_path)
    (line,) = found.tables[0].lines
    # All ten tokens stay, 6 of 8 leave at 4: 4 layers and a quarter of two more, of six.
    assert line.cells["formula"].value == pytest.approx(4.5 / 6)
    assert line.cells["flops_ratio"].value == 0.6
    assert (line.cells["time"].value, line.cells["time"].low) == (0.5, 1 / 2.1)
    assert line.cells["time"].bold
    assert line.cells["conversion"].value == 1.2
    assert line.cells["attention"].value == pytest.approx(100 * 1600 / 5440)
    (figure,) = found.figures
    assert figures.png(figure)
    assert found.answer == [
        "sst2, eat, tau 0.9: of own static's cost the formulas promise 0.75, counted are 0.60, "
        "measured are, at batch 1, 0.50, at batch 32 0.50; conversion 1.20 and 1.20."
    ]
