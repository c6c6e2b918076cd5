"""Accuracy against time: the tables, what is flagged, the answer, and the figure's marks."""

from functools import partial
from pathlib import Path

import pytest
from frontiers import eat_run, fixed_rows, static_run
from matplotlib.text import Text
from studies import claim_in, line_of

from eat_lightning.report import figures
from eat_lightning.report.claim import Claim
from eat_lightning.report.table import Line

claim = partial(claim_in, "frontier")


def line(found: Claim, setting: str) -> Line:
    return line_of(found.tables[0], model="eat", setting=setting)


@pytest.fixture
def found(tmp_path: Path) -> Claim:
    static_run(tmp_path)
    eat_run(tmp_path)
    return claim(tmp_path)


def test_a_line_has_what_the_rows_say(found: Claim):
    made = line(found, "tau 0.9").cells
    values = {key: made[key].value for key in ("accuracy", "to_own", "to_trained", "depth")}
    assert values == {"accuracy": 100.0, "to_own": 12.5, "to_trained": 50.0, "depth": 4.5}
    assert made["to_trained"].bold
    assert (made["speed_up"].value, made["batch_speed_up"].value) == (2.0, 2.0)
    held = [made[f"to_{key}"].value for key in ("padded_speed_up", "padded_batch")]
    assert held == pytest.approx([2.4, 4.0])
    assert made["to_trained_speed_up"].value == 1.6
    assert (made["conversion"].value, made["batch_conversion"].value) == (1.2, 1.2)


def test_seeds_are_mean_and_sd(tmp_path: Path):
    worse = {4: [1, 1, 1, 1, 0, 0, 0, 0], 6: [1, 1, 1, 1, 1, 1, 0, 0]}
    eat_run(tmp_path)
    eat_run(tmp_path, seed=2, right=worse)
    made = line(claim(tmp_path), "tau 0.9")
    assert made.cells["accuracy"].text == "87.50 ± 17.68"  # of 100 and 75
    assert made.cells["seed"].text == "2 (1, 2)"
    assert made.cells["to_own"].value == pytest.approx(0.0)
    assert made.cells["to_own_p"].text == "1.00 (1.00 to 1.00)"
    assert made.flags == ()


def test_fixed_depth_is_a_curve_over_counted_flops(tmp_path: Path):
    static_run(tmp_path)
    gain = {"adaptivity_gain": 0.05, "adaptivity_gain_low": 0.01, "adaptivity_gain_high": 0.09}
    eat_run(tmp_path, **gain)
    fixed_rows(tmp_path)
    found = claim(tmp_path)
    assert line(found, "fixed depth 4").cells["accuracy"].value == 75.0
    made = line(found, "tau 0.9").cells["gain"]
    assert (made.text, made.bold) == ("+5.00 (+1.00 to +9.00)", True)
    (figure,) = found.figures
    with figures.style(figure.name):
        texts = [text.get_text() for text in figures.drawn(figure).findobj(Text)]
    assert "layer 2" in texts
