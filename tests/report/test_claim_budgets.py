"""Budgets: a line for each method and budget, beside its fixed depths."""

from functools import partial
from pathlib import Path

from helpers.budgeted import run
from helpers.studies import claim_in

from eat_lightning.report import figures

claim = partial(claim_in, "budgets")


def test_each_method_has_its_own_line_panel_and_gain(tmp_path: Path):
    run(tmp_path, "joint", 0.8)
    run(tmp_path, "sweet", 0.9, objective={"kind": "sweet"})
    found = claim(tmp_path)
    (table,), (figure,) = found.tables, found.figures
    texts = [[x.cells[k].text for k in ("model", "setting", "full")] for x in table.lines]
    assert texts == [["eat", "budget 0.5", "75.00"], ["eat, sweet", "budget 0.5", "75.00"]]
    assert table.lines[0].cells["gain"].text == "+5.00 (+1.00 to +9.00)"
    assert table.lines[0].cells["gain"].bold
    assert figures.png(figure)
    assert found.answer[0].startswith(
        "sst2, budget 0.5: of 2 methods eat gains most on these examples, +5.00 (+1.00 "
        "to +9.00) points over fixed"
    )


def test_two_rules_of_one_run_are_told_apart_by_the_same_names_for_all_seeds(tmp_path: Path):
    gap = {"kind": "margin", "lead": [0.4], "layers": [4]}
    run(tmp_path, "a", 0.8)
    run(tmp_path, "a", 0.4, rule=gap)
    run(tmp_path, "b", 0.3, seed=2, rule=gap)  # one rule alone was measured of it
    found = claim(tmp_path)
    texts = {x.cells["model"].text: x.cells["seeds"].text for x in found.tables[0].lines}
    assert texts == {"eat, confidence": "1 (1)", "eat, margin": "2 (1, 2)"}
