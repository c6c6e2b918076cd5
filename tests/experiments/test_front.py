"""README's table and picture follow from kept rows; no other decimal stands before Reference."""

import re
from pathlib import Path

from docs.site import how
from docs.site.canvas import COLORS
from experiments.adapt import table
from experiments.bench.tables import processor

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
PAGE = (ROOT / "experiments/adapt/page.md").read_text("utf-8")
FRONT = README.partition("## Reference")[0]


def test_the_tables_follow_from_the_kept_rows():
    assert table.front() in FRONT
    assert table.whole() in PAGE


def test_the_words_beside_the_table_follow_too():
    kept = table.rows()
    assert {row.threads for row in kept} == {1}
    assert "one thread" in FRONT
    assert {processor(row.machine) for row in kept} <= {"Intel Xeon", "AMD EPYC"}
    assert {row.confidence for row in kept} == {0.95}
    assert "95 % confidence" in FRONT


def test_what_adapt_is_said_to_print_follows_from_a_kept_row():
    (row,) = (r for r in table.rows() if (r.task, table.layers(r), r.batch) == ("sst2", 12, 1))
    old, new = row.original.ms, row.chosen.ms
    assert f"{row.chosen.name}: {old / new:.1f} times as fast as transformers" in FRONT
    assert f"({new:.1f} instead of {old:.1f} ms a text)" in FRONT
    assert f"{row.certified_changed} of {row.num_certify:,} did" in FRONT
    assert f"it took {row.minutes:.0f} minutes on two cores, and ended" in FRONT


def test_the_picture_and_its_words_follow_from_the_kept_records():
    for scheme in COLORS:
        assert (how.FIGURES / f"batch-{scheme}.svg").read_text("utf-8") == how.batch().svg(scheme)
    drawn = how.Batch.of(how.at_budget(how.HALF))
    assert f"{100 * drawn.spent:.0f} % of the work" in FRONT
    left = f"{drawn.entering(3)} are left at layer 3, {drawn.entering(7)} at layer 7"
    assert FRONT.replace("\n", " ").count(left) == 2  # in words, and for who does not see it


def test_the_front_page_is_short_and_its_decimals_are_the_table_s():
    assert len(FRONT.split()) <= 900
    text = re.sub(r"```.*?```", "", FRONT, flags=re.DOTALL)
    decimals = set(re.findall(r"\d+\.\d+", text)) - {"3.11"}  # of Python
    assert decimals <= set(re.findall(r"\d+\.\d+", table.front()))
