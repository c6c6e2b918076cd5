"""Cells: bold only what an interval shows, and what is doubtful flagged."""

import pytest

from eat_lightning.report import cells
from eat_lightning.report.difference import Difference
from eat_lightning.report.intervals import Interval


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
