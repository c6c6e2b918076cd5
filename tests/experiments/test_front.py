"""README's table and picture follow from kept rows; no other decimal stands before Reference."""

import re

import pytest

from experiments.bench import front
from experiments.site import how
from experiments.site.canvas import COLORS

README = (front.EXPERIMENTS.parent / "README.md").read_text("utf-8")
FRONT = README.partition("## Reference")[0]


@pytest.fixture(scope="module")
def found():
    return list(front.deployed())


def test_the_table_follows_from_the_kept_rows():
    assert front.table() in FRONT


def test_the_words_beside_the_table_follow_too(found):
    assert {(each.raced.num_examples, each.raced.threads) for each in found} == {(24, 1)}
    assert {each.raced.machine for each in found} == {"AMD EPYC x2"}
    assert "24 dev" in FRONT
    assert "one thread of an AMD EPYC" in FRONT


def test_a_race_is_of_fp32_so_that_accuracy_is_of_the_same_logits(found):
    assert {each.raced.dtype for each in found} == {each.budgeted.dtype for each in found}
    assert all(each.static.num_layers == each.raced.num_layers for each in found)


def test_the_picture_and_its_words_follow_from_the_kept_records():
    for scheme in COLORS:
        assert (how.FOLDER / f"batch-{scheme}.svg").read_text("utf-8") == how.batch().svg(scheme)
    drawn = how.Batch.of(how.at_budget(how.BUDGET))
    assert f"{100 * drawn.spent:.0f} % of the work" in FRONT
    left = f"{drawn.entering(3)} are left at layer 3, {drawn.entering(7)} at layer 7"
    assert FRONT.replace("\n", " ").count(left) == 2  # in words, and for who does not see it


def test_the_front_page_is_short_and_its_decimals_are_the_table_s():
    assert len(FRONT.split()) <= 900
    text = re.sub(r"```.*?```", "", FRONT, flags=re.DOTALL)
    decimals = set(re.findall(r"\d+\.\d+", text)) - {"3.11"}  # of Python
    assert decimals <= set(re.findall(r"\d+\.\d+", front.table()))
