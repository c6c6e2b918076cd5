"""Budgets: a line for each method and budget, beside its fixed depths."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
from studies import claim_in, keep, make_recorded, make_row

from eat_lightning.errors import ConfigError
from eat_lightning.report import figures

claim = partial(claim_in, "budgets")

AT_4, AT_6 = [1, 1, 1, 1, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1, 0, 0]


def run(
    folder: Path,
    name: str,
    tau: float,
    seed: int = 1,
    rule: dict[str, Any] | None = None,
    at_6: float = 0.75,
    fitted_ratio: float = 0.3,
    **more: Any,
) -> None:
    """Thresholds that were fitted for half of the FLOPs: they differ between runs."""
    same = {"model": "eat", "run": name, "seed": seed, "examples": "e.parquet", **more}
    exit = rule or {"kind": "confidence", "tau": [tau], "layers": [4]}
    knob = {"exit": exit, "knob": next(name for name in exit if name not in ("kind", "layers"))}
    left = {"exit_shares": {"4": 0.5, "6": 0.5}, "depth": 5.0, "flops_ratio": 0.5}
    gain = {"adaptivity_gain": 0.05, "adaptivity_gain_low": 0.01, "adaptivity_gain_high": 0.09}
    top = {"kind": "norm_topk", "ratio": 0.3, "layers": [2]}
    cut = {"reduction": top | {"ratio": fitted_ratio}, "budget": 0.5}
    rows = [make_row(**same | knob | left | gain | cut, point=[tau], accuracy=0.75)]
    for layer, accuracy in ((4, 0.5), (6, at_6)):
        fixed = {"exit": {"kind": "fixed", "layer": layer}, "baseline": "fixed depth"}
        fixed["reduction"] = top
        cost = {"exit_shares": {str(layer): 1.0}, "depth": float(layer), "flops_ratio": layer / 6}
        rows.append(make_row(**same | fixed | cost, accuracy=accuracy))
    keep(folder / name, rows, make_recorded([AT_4, AT_6], [4, 6]))


def test_each_method_has_its_own_line_panel_and_gain(tmp_path: Path):
    run(tmp_path, "joint", 0.8)
    run(tmp_path, "sweet", 0.9, objective={"kind": "sweet"})
    found = claim(tmp_path)
    (table,), (figure,) = found.tables, found.figures
    texts = [[x.cells[k].text for k in ("model", "setting", "full")] for x in table.lines]
    assert texts == [["eat", "budget 0.5", "75.00"], ["eat, sweet", "budget 0.5", "75.00"]]
    assert table.lines[0].cells["gain"].text == "+5.00 (+1.00 to +9.00)"
    assert table.lines[0].cells["gain"].bold
    assert table.lines[0].source.command.endswith("budgets=[0.5]'")
    assert [mark.title for mark in figure.marks] == ["eat, budget 0.5", "eat, sweet, budget 0.5"]
    figures.svg(figure)  # raises where a mark was not drawn
    assert found.answer[0].startswith(
        "sst2, budget 0.5: the largest gain over fixed depth is that of eat, +5.00"
    )


def test_seeds_of_a_budget_are_one_setting_whatever_was_fitted(tmp_path: Path):
    run(tmp_path, "a", 0.8)
    run(tmp_path, "b", 0.9, seed=2)
    (line,) = claim(tmp_path).tables[0].lines
    assert line.cells["seeds"].text == "1, 2"


def test_two_rules_of_one_run_are_told_apart_by_the_same_names_for_all_seeds(tmp_path: Path):
    gap = {"kind": "margin", "lead": [0.4], "layers": [4]}
    run(tmp_path, "a", 0.8)
    run(tmp_path, "a", 0.4, rule=gap)
    run(tmp_path, "b", 0.3, seed=2, rule=gap)  # one rule alone was measured of it
    found = claim(tmp_path)
    texts = {x.cells["model"].text: x.cells["seeds"].text for x in found.tables[0].lines}
    assert texts == {"eat, confidence": "1", "eat, margin": "1, 2"}
    assert len({mark.title for mark in found.figures[0].marks}) == 2


def test_where_a_fit_left_the_reduction_does_not_part_seeds(tmp_path: Path):
    for name, seed, ratio in (("a", 1, 0.1), ("b", 2, 0.5)):
        run(tmp_path, name, 0.8, seed, fitted_ratio=ratio)
    (line,) = claim(tmp_path).tables[0].lines
    assert [line.cells[k].text for k in ("model", "seeds")] == ["eat", "1, 2"]
    assert line.cells["full"].text == "75.00 ± 0.00"


def test_fixed_depths_are_those_of_the_method(tmp_path: Path):
    """Two methods of one seed, whose rows at full depth differ in nothing but their run."""
    run(tmp_path, "joint", 0.8)
    learned = {"kind": "berxit", "threshold": [0.4], "layers": [4]}
    run(tmp_path, "learned", 0.4, rule=learned, at_6=0.5)
    texts = {x.cells["model"].text: x.cells["full"].text for x in claim(tmp_path).tables[0].lines}
    assert texts == {"eat": "75.00", "eat, berxit": "50.00"}


def test_without_budgets_there_is_nothing_to_show(tmp_path: Path):
    keep(tmp_path / "r", [make_row()])
    with pytest.raises(ConfigError, match="no row here was fitted for a budget: python"):
        claim(tmp_path)
