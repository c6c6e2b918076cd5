"""The study of the dial: its counts, by hand."""

import numpy as np
import pytest
from test_budget_limits import EASY, HARD, dev

from eat_lightning.runs.jsonl import read
from experiments.budgets.dial import (
    GONE,
    ROWS,
    Trial,
    estimate,
    halves,
    is_below,
    means,
    one_dial,
    report,
    summary,
)


def trial(fit: str, cost: list[float], accuracy: list[float]) -> Trial:
    return Trial("sst2", 6, "a", 0, fit, [0.4, 0.5, 0.6], cost, accuracy, [0.9, 0.95, 1.0])


def test_steps_that_turn_back_are_counted():
    found = [
        trial("one dial", [0.39, 0.5, 0.6], [0.8, 0.81, 0.808]),  # loses 0.2 points once
        trial("hull", [0.39, 0.38, 0.63], [0.8, 0.79, 0.82]),  # loses 1, spends less, then more
    ]
    dial, hull = summary(found).to_dict("records")
    names = ("steps", "lose accuracy", "more than 0.25", "spend falls", "under by 0.05")
    assert [dial[name] for name in names] == ["2", "1", "0", "0", "0"]
    assert [hull[name] for name in names] == ["2", "1", "1", "1", "1"]
    assert (hull["over by 0.02"], hull["more than 0.5"]) == ("1", "1")
    assert (dial["accuracy"], dial["agreement"], dial["spent"]) == ("80.60", "95.00", "0.497")


def test_groups_stay_whole():
    group_B = np.repeat([7, 8, 9, 10], 5)
    given = dev([[0.0, float(group)] for group in group_B], group_B)
    first, second = ({*part.recorded.guesses[1][:, 1]} for part in halves(given, seed=0))
    assert len(first | second) == 4
    assert not first & second


def test_what_a_fit_gives_elsewhere():
    """A cut whose exit always agrees, judged where it is sure and always wrong."""
    (depth_B,) = one_dial(dev([EASY] * 20), judged := dev([HARD] * 20), [0.5])
    assert means(judged, [depth_B]) == ([0.5], [0.0], [0.0])


def test_a_point_of_the_hull_lies_above_the_line():
    assert is_below(np.array([0, 0]), np.array([1, 0.4]), np.array([2, 1]))
    assert not is_below(np.array([0, 0]), np.array([1, 0.6]), np.array([2, 1]))


def test_an_estimate_follows_what_is_right():
    logits_BC = np.repeat([[3.0, 0.0], [0.1, 0.0]], 500, axis=0)
    right_B = np.repeat([0.9, 0.6], 500)  # shares
    found_B = estimate(logits_BC, right_B)
    assert found_B[[0, -1]] == pytest.approx([0.9, 0.6], abs=0.01)


def test_the_page_follows_from_the_kept_rows():
    page = ROWS.parents[1] / "dial.md"
    kept = read(ROWS, Trial, "trial")
    assert any(each.fit == GONE for each in kept)
    assert report(kept) in page.read_text("utf-8")
