"""Verdicts on targets of heads from one pass."""

import pytest

from eat_lightning.report.intervals import Interval
from experiments.budgets.summary import STUDENT
from experiments.budgets.targets import Target, equal_time_line, student_line
from experiments.plane.rows import TimedRow


def timed(system: str, ms: float, accuracy: float, above: list[float]) -> TimedRow:
    kind = "static" if system == STUDENT else "exits"
    row = TimedRow(system, kind, 0.5, ms, ms / 2, [1, 1, 1], [1, 1, 1], 1.0, 320, "", "here", "")
    return TimedRow(**{**vars(row), "accuracy": accuracy, "above": {STUDENT: above}})


def test_the_most_accurate_exits_that_take_no_longer_stand_beside_the_student():
    rows = [
        timed(STUDENT, 40.0, 80.0, [0, 0, 0]),
        timed("exits", 30.0, 80.5, [0.5, -0.1, 1.0]),
        timed("exits", 40.0, 81.0, [1.0, 0.4, 1.6]),
        timed("exits", 40.1, 83.0, [3.0, 2.4, 3.6]),
    ]
    for field in ("latency_ms", "batch_ms"):
        found = equal_time_line(rows, field)
        assert (found["reached"], found[""]) == ("+1.00 (+0.40 to +1.60)", "missed")


@pytest.mark.parametrize(
    ("interval", "verdict"),
    [((0.5, 0.1, 0.9), "met"), ((0.5, -0.1, 0.9), "not shown"), ((-0.1, -0.5, 0.3), "missed")],
)
def test_a_difference_is_met_where_its_whole_interval_is_above(interval, verdict: str):
    assert student_line("a", Interval(*interval), 0.0)[""] == verdict


def test_a_target_is_worded_by_what_it_bounds():
    assert Target("a", 0.5, 1.5).words == "at most 1.5 points lost at 0.5"
    assert Target("a", 0.5, 1, changed=True).words == "at most 1 % changed at 0.5"
