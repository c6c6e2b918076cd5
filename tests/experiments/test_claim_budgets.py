"""Budgets: a line for each method and budget, beside its fixed depths."""

from pathlib import Path
from typing import Any

import pytest
from studies import keep, make_recorded, make_row

from eat_lightning.errors import ConfigError
from eat_lightning.report import figures
from eat_lightning.report.__main__ import CLAIMS_DIR, claim_of
from eat_lightning.report.claim import Claim
from eat_lightning.report.study import open_study

AT_4, AT_6 = [1, 1, 1, 1, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1, 0, 0]


def claim(folder: Path) -> Claim:
    return claim_of(CLAIMS_DIR / "budgets" / "claim.py")(open_study([str(folder)]))


def run(folder: Path, name: str, tau: float, seed: int = 1, **more: Any) -> None:
    """Thresholds that were fitted for half of the FLOPs: they differ between runs."""
    same = {"model": "eat", "run": name, "seed": seed, "examples": "e.parquet", **more}
    rule = {"exit": {"kind": "confidence", "tau": [tau], "layers": [4]}, "knob": "tau"}
    left = {"exit_shares": {"4": 0.5, "6": 0.5}, "depth": 5.0, "flops_ratio": 0.5}
    gain = {"adaptivity_gain": 0.05, "adaptivity_gain_low": 0.01, "adaptivity_gain_high": 0.09}
    rows = [make_row(**same | rule | left | gain, point=[tau], budget=0.5, accuracy=0.75)]
    for layer, accuracy in ((4, 0.5), (6, 0.75)):
        fixed = {"exit": {"kind": "fixed", "layer": layer}, "baseline": "fixed depth"}
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
    assert found.answer[0].startswith("sst2, budget 0.5: most over fixed depth gains eat, +5.00")


def test_seeds_of_a_budget_are_one_setting_whatever_was_fitted(tmp_path: Path):
    run(tmp_path, "a", 0.8)
    run(tmp_path, "b", 0.9, seed=2)
    (line,) = claim(tmp_path).tables[0].lines
    assert line.cells["seeds"].text == "1, 2"


def test_without_budgets_there_is_nothing_to_show(tmp_path: Path):
    keep(tmp_path / "r", [make_row()])
    with pytest.raises(ConfigError, match="no row here was fitted for a budget: python"):
        claim(tmp_path)
