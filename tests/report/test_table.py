"""Tables: a sentence once, flags marked, and bold only what an interval shows."""

import re
from dataclasses import replace

import pytest

from eat_lightning.report import cells
from eat_lightning.report.difference import Difference
from eat_lightning.report.intervals import Interval
from eat_lightning.report.table import Cell, Column, Line, Table

SMALL = "fewer than 100 examples"


@pytest.fixture
def table() -> Table:
    columns = [
        Column("model", "model", numeric=False),
        Column("dtype", "dtype", "as timed", numeric=False),
        Column("accuracy", "accuracy", "in percent", group="accuracy"),
        Column("ms", "ms", group="time"),
        Column("nothing", "nothing"),
    ]
    first = {
        "model": Cell("a_b", "a_b"),
        "dtype": Cell("fp32", "fp32"),
        "accuracy": Cell(0.5, "50.0 ± 1.0", 0.4, 0.6, flags=(SMALL,)),
        "ms": Cell(2.0, "2.0", bold=True),
    }
    second = first | {
        "model": Cell("b|c", "b|c"),
        "accuracy": Cell(0.25, "25.0", 0.1, 0.4, flags=(SMALL, "below the majority class")),
    }
    lines = [Line(first, flags=("one seed",)), Line(second)]
    return Table("t", "A title", "50% & more.", columns, lines)


def squeezed(text: str) -> str:
    """Without the spaces that pandas aligns columns with."""
    return re.sub(" +", " ", text)


def test_each_sentence_once_and_each_flag_marked(table: Table) -> None:
    text = squeezed(table.markdown())
    assert text.count(SMALL) == 1
    assert "| a_b <sup>a</sup> | 50.0 ± 1.0 <sup>b</sup> |" in text
    assert "| b\\|c | 25.0 <sup>b,c</sup> |" in text
    assert "<sup>c</sup> below the majority class" in text


def test_words_that_are_the_same_are_said_once(table: Table) -> None:
    assert "In every line: dtype fp32." in table.markdown()
    assert "| model | ms |" in squeezed(table.markdown())  # a number stays, if the same
    other = table.lines[1].cells | {"dtype": Cell("bf16", "bf16")}
    differing = replace(table, lines=[table.lines[0], replace(table.lines[1], cells=other)])
    assert "| model | dtype | ms |" in squeezed(differing.markdown())


@pytest.mark.parametrize(
    ("interval", "bold", "flags"),
    [
        (Interval(1.0, 0.5, 1.5), True, ()),
        (Interval(-1.0, -1.5, -0.5), False, ()),
        (Interval(0.5, -0.5, 1.5), False, (cells.SPANS_ZERO,)),
        (Interval(0.0, 0.0, 0.0), False, ()),
    ],
)
def test_bold_is_what_the_interval_says(interval: Interval, bold: bool, flags: tuple[str, ...]):
    cell = cells.points(Difference(interval.value, interval))
    assert (cell.bold, cell.flags, cell.low) == (bold, flags, interval.low)


def test_p_over_seeds_is_the_median_and_the_range():
    assert (
        cells.p_value(Difference(0.0, None, (0.5, 0.01, 0.0001))).text == "0.010 (<0.001 to 0.50)"
    )
    assert cells.p_value(Difference(0.0, None, (0.25,))).text == "0.25"


def test_a_difference_of_other_numbers_of_seeds_is_marked():
    found = Difference(1.0, Interval(1.0, 0.5, 1.5), seeds="of 2 seeds minus 1")
    assert cells.points(found).flags == ("of 2 seeds minus 1",)
    assert cells.points(Difference(1.0, Interval(1.0, 0.5, 1.5))).flags == ()
