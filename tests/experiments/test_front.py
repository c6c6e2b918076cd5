"""README's table and picture follow from kept rows; no other decimal stands before Reference."""

import re
from pathlib import Path

from docs.site import how
from docs.site.canvas import COLORS
from experiments.adapt.adaptations import adaptations
from experiments.study import StudyFolder

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
TABLE = StudyFolder("adapt").claim.table("front").markdown()
KEPT = adaptations(ROOT / "experiments/adapt/results")
FRONT = README.partition("## Reference")[0]


def test_the_table_follows_from_the_kept_rows():
    assert TABLE in FRONT


def test_the_words_beside_the_table_follow_too():
    assert {each.row["threads"] for each in KEPT} == {1}
    assert "one thread" in FRONT
    assert {each.row["confidence"] for each in KEPT} == {0.95}
    assert "95 % confidence" in FRONT


def test_what_adapt_is_said_to_print_follows_from_a_kept_row():
    title = "SST-2, phrases; MPNet, 12 layers"
    (found,) = (each for each in KEPT if (each.title, each.batch) == (title, 1))
    old, new, count = found.original.ms, found.chosen.ms, found.count
    assert old is not None
    assert new is not None
    assert f"{found.chosen.name}: {old / new:.1f} times as fast as transformers" in FRONT
    assert f"({new:.1f} instead of {old:.1f} ms a text)" in FRONT
    assert f"{count.changed} of {count.num:,} did" in FRONT
    assert f"it took {found.row['minutes']:.0f} minutes on two cores, and ended" in FRONT


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
    assert decimals <= set(re.findall(r"\d+\.\d+", TABLE))
