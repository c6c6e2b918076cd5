"""Which exits are open, and from which level on examples leave: by hand.

Of four examples and four layers, with exits after the first and the second, an open exit costs half
a layer. Levels at the exits, * where the answer changes:

    example      0    1    2    3
    exit 1       3    1*   -    0.5
    exit 2       4    2    3    0.2*
"""

import numpy as np
import pytest

from eat_lightning.methods.exit.confidence import Confidence
from eat_lightning.record.open_exits import OpenExits, opened
from eat_lightning.record.point import Point
from eat_lightning.record.record import Record

LEVELS = np.array([[3.0, 1.0, -np.inf, 0.5], [4.0, 2.0, 3.0, 0.2]])
CHANGES = np.array([[False, True, False, False], [False, False, False, True]])
BOTH = np.array([True, True])
SEARCH = OpenExits(LEVELS, CHANGES.astype(float), [1, 2, 4], guess=0.5)


@pytest.mark.parametrize(
    ("open_E", "most", "level", "costs"),
    [
        ([True, True], 0, 2.0, [1.5, 3.0, 3.0, 5.0]),
        ([True, True], 1, 0.5, [1.5, 1.5, 3.0, 1.5]),  # of example 3, the change at exit 2 is none
        ([True, False], 0, 3.0, [1.5, 4.5, 4.5, 4.5]),
        ([False, True], 0, 2.0, [2.5, 2.5, 2.5, 4.5]),
        ([False, True], 1, 0.2, [2.5, 2.5, 2.5, 2.5]),
        ([False, False], 1, np.inf, [4.0]),
    ],
)
def test_the_laxest_level_with_so_many_changes(
    open_E: list[bool], most: int, level: float, costs: list[float]
):
    found = SEARCH.laxest(np.array(open_E), most)
    assert (found.level, found.cost) == (level, pytest.approx(np.mean(costs)))


def test_an_exit_is_closed_where_others_use_its_changes_better():
    """Without a change, both open cost 3.125 layers and the second alone 3. With one they cost
    1.875, and the second alone 2.5."""
    closed = SEARCH.best(0, BOTH)
    assert (closed.open_E.tolist(), closed.cost) == ([False, True], 3.0)
    again = SEARCH.best(1, closed.open_E)
    assert (again.open_E.tolist(), again.cost) == ([True, True], 1.875)


def test_a_dear_guess_closes_all_exits():
    dear = OpenExits(LEVELS, CHANGES.astype(float), [1, 2, 4], guess=9.0)
    assert dear.best(1, BOTH).cost == 4.0


def test_points_leave_as_was_chosen():
    """One of ten texts is sure at layer 0, six at layer 1 and nobody at layer 2. Exits at all of
    them cost 0.3 x (1 + 0.9 + 0.3) layers for guesses. The exit at layer 0 saves 0.1 layers, since
    its text leaves at layer 1 too, and that at layer 2 saves none."""
    sure_at_N = np.array([0, 1, 1, 1, 1, 1, 1, 4, 4, 4])
    guesses = {
        layer: np.where(sure_at_N[:, None] <= layer, [9.0, 0.0], [0.0, 0.1]) for layer in range(3)
    }
    guesses[4] = np.tile([9.0, 0.0], (10, 1))
    rule = Confidence(tau=[1.0] * 3, layers=[0, 1, 2])
    given = np.full(10, -100), np.full(10, 5), guesses, np.full((4, 10), 5), rule
    record = Record(*given)
    [point] = opened(rule, record, 0.3, counts=[2.0, 2.1])  # nothing is saved by more
    tau = point.arguments["tau"]
    assert tau[0] == tau[2] == 1.0 > tau[1]
    assert record.replay(Point(methods={"exit": point})).depth_B.tolist() == [1] * 7 + [4] * 3
    assert [*opened(rule, record, 0.3, counts=[0.0])] == []
