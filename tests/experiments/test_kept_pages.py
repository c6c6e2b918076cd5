"""Tables of the studies' pages follow from the rows that are kept beside them."""

from pathlib import Path

from eat_lightning.runs import jsonl
from experiments.calibration import seen
from experiments.lists import __main__ as lists
from experiments.lists import measured
from experiments.long_texts import scan
from experiments.serving import routes

EXPERIMENTS = Path(__file__).parents[2] / "experiments"


def page(name: str) -> str:
    return (EXPERIMENTS / name).read_text("utf-8")


def test_what_a_backbone_has_seen():
    rows = jsonl.read(seen.ROWS, seen.SeenRow)
    assert seen.table(rows) in page("calibration/page.md")


def test_lists():
    rows = jsonl.read(lists.ROWS, lists.ListRow)
    timed = jsonl.read(measured.KEPT, measured.ListRow)
    tables = [lists.of_depths(rows), lists.of_ways(rows), lists.of_heads(rows)]
    tables += [lists.of_adapted(lists.adapted()), measured.strategies(timed, "fresh60.jsonl")]
    tables += [measured.sizes(timed, "fresh60.jsonl", lists.adapted().dtype)]
    assert [table for table in tables if table not in page("lists/page.md")] == []


def test_long_texts():
    assert scan.table(jsonl.read(scan.ROWS, scan.ScanRow)) in page("long_texts/page.md")


def test_routes_of_the_gateway():
    assert routes.table(jsonl.read(routes.ROWS, routes.RouteRow)) in page("serving/page.md")
