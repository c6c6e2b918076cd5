"""Tables of the studies' pages follow from the rows that are kept beside them."""

from pathlib import Path

import pytest

from eat_lightning.runs import jsonl
from experiments.budgets import dial, rules, summary, targets
from experiments.calibration import seen
from experiments.lists import __main__ as lists
from experiments.lists import measured
from experiments.long_texts import scan
from experiments.one_pass import __main__ as one_pass
from experiments.plane.__main__ import HERE
from experiments.plane.rows import Plane
from experiments.plane.show import report

EXPERIMENTS = Path(__file__).parents[2] / "experiments"


def page(name: str) -> str:
    return (EXPERIMENTS / name).read_text("utf-8")


def test_budgets():
    tables = summary.tables(summary.kept_rows())
    assert [table for table in tables if table not in page("budgets/page.md")] == []


def test_targets_and_every_dial():
    tables = targets.tables(summary.kept_rows())
    assert [table for table in tables if table not in page("budgets/targets.md")] == []


def test_rules_that_need_no_training():
    assert rules.table(jsonl.read(rules.ROWS, rules.RuleRow)) in page("budgets/pairs.md")


def test_the_dial():
    kept = jsonl.read(dial.ROWS, dial.Trial, "trial")
    tables = [part for part in dial.report(kept).split("\n\n") if part.startswith("|")]
    told = dial.report_of_cuts(jsonl.read(dial.ON_CUT, dial.Trial))
    tables += [part for part in told.split("\n\n") if part.startswith("|")]
    assert len(tables) == 6
    assert [table for table in tables if table not in page("budgets/dial.md")] == []


def test_what_a_backbone_has_seen():
    rows = jsonl.read(seen.ROWS, seen.SeenRow)
    assert seen.table(rows) in page("calibration/page.md")


def test_variants_of_heads():
    rows = jsonl.read(one_pass.ROWS, one_pass.Tried)
    assert one_pass.table(rows) in page("budgets/one_pass.md")


def test_lists():
    rows = jsonl.read(lists.ROWS, lists.ListRow)
    timed = jsonl.read(measured.KEPT, measured.ListRow)
    tables = [lists.of_depths(rows), lists.of_ways(rows), lists.of_heads(rows)]
    tables += [lists.of_adapted(lists.adapted()), measured.strategies(timed, "fresh60.jsonl")]
    tables += [measured.sizes(timed, "fresh60.jsonl", lists.adapted().dtype)]
    assert [table for table in tables if table not in page("lists/page.md")] == []


def test_long_texts():
    assert scan.table(jsonl.read(scan.ROWS, scan.ScanRow)) in page("long_texts/page.md")


@pytest.mark.slow
def test_the_plane(tmp_path: Path):
    for path in sorted(HERE.glob("*/*.jsonl")):
        text = report(Plane.read(path.parent, path.stem), tmp_path)
        assert text in (path.parent / "report.md").read_text("utf-8")
