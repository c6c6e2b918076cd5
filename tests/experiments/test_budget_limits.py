"""What keeps a budget from full accuracy, and pooled batches: the arithmetic of both scripts."""

import numpy as np
import pytest

from eat_lightning.infer.recorded import Recorded
from eat_lightning.model.contracts import build
from experiments.budgets.limits import Dev
from experiments.budgets.pooled import ratios

EASY, HARD = [0.0, -5.0], [0.0, 5.0]  # margins: the right class is the first


def dev(first: list[list[float]], group_B: np.ndarray | None = None) -> Dev:
    """Two layers, an exit at the first; the last layer is always right."""
    size = len(first)
    guesses = {1: np.array(first, np.float32), 2: np.array([EASY] * size, np.float32)}
    labels, tokens_LB = np.zeros(size, int), np.full((2, size), 8)
    rule = build("exit", {"kind": "confidence", "tau": 0.9, "layers": [1]})
    said = Recorded(labels, tokens_LB[0], guesses, tokens_LB, rule, group_B=group_B)
    return Dev(rule, said, np.repeat([[0.5], [1.0]], size, 1), budget=0.5)


def test_each_half_is_judged_under_the_other_halfs_thresholds():
    assert dev([EASY] * 20).by_halves() == pytest.approx((0.5, 1.0))
    # A head that is sure and wrong on all: the budget makes everybody leave there.
    assert dev([HARD] * 20).by_halves() == pytest.approx((0.5, 0.0))


def test_groups_stay_whole(monkeypatch: pytest.MonkeyPatch):
    seen: list[set[int]] = []
    given = dev([EASY, HARD] * 10, group_B=np.repeat([7, 8, 9, 10], 5))
    own = Dev.rows

    def noted(self: Dev, at_B: np.ndarray) -> Dev:
        seen.append(set(np.asarray(self.recorded.group_B)[at_B].tolist()))
        return own(self, at_B)

    monkeypatch.setattr(Dev, "rows", noted)
    given.by_halves()
    first, second = seen
    assert first
    assert second
    assert not first & second


def test_fixed_depth_lies_linear_in_time_between_two_layers():
    one_R = np.ones(3)
    rate = {"full depth": 10 * one_R, "exits": 24 * one_R, 2: 30 * one_R, 3: 20 * one_R}
    full, exits = ratios(rate, depth=2.5)  # 1 / (0.5 / 30 + 0.5 / 20) = 24
    assert exits["over full depth"].startswith("2.40")
    assert exits["over fixed depth"].startswith("1.00")
    assert full["over full depth"].startswith("1.00")
