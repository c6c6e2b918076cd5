"""The table and the figure of attacks, from rows made by hand."""

from dataclasses import fields
from pathlib import Path
from typing import Any

from eat_lightning.report import figures
from experiments.attack.draw import figure_of
from experiments.attack.rows import AttackRow
from experiments.attack.table import table_of

SAMPLES = {"str": "x", "int": 6, "float": 0.5, "float | None": 0.25}


def row(**changes: Any) -> AttackRow:
    given: dict[str, Any] = {f.name: SAMPLES.get(str(f.type)) for f in fields(AttackRow)}
    given |= {"kinds": ["words"], "budget": {"edits": 3, "words": 4, "candidates": 16}}
    return AttackRow(**(given | {"goal": "slowdown"} | changes))


def test_a_line_for_each_rule_that_judges(tmp_path: Path):
    rows = [row(under="tau 0.8", depth_before=3.0, depth_after=5.5), row(under="never")]
    table = table_of([*rows, row(goal="evasion")], "slowdown")
    assert [line.cells["under"].text for line in table.lines] == ["tau 0.8", "never"]
    assert table.lines[0].cells["depth"].text == "3.00 to 5.50"
    assert table.lines[0].cells["reached"].text == "25"
    assert figures.save(figure_of(rows), tmp_path)["png"].is_file()
