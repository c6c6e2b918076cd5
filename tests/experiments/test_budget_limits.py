"""What keeps a budget from full accuracy, and where batches lose: the scripts' arithmetic."""

import numpy as np
import pytest
import torch
from models import tiny

from eat_lightning.infer.recorded import Recorded
from eat_lightning.model.packed import Batch
from eat_lightning.model.specification import build
from experiments.budgets.batches import Lost, Way, longer
from experiments.budgets.limits import Dev

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


def lost() -> Lost:
    """Fixed depth between 20 and 40 s at 2.5 of its layers: 30 s; exits take 36."""
    one_R = np.ones(3)
    took = {"full depth": 72, "exits": 36, "layers alone": 32, "layers and compaction": 33}
    return Lost({name: s * one_R for name, s in {**took, 2: 20, 3: 40}.items()}, 2.5, longer=1.05)


def test_fixed_depth_lies_linear_in_time_between_two_layers():
    full, exits, *_ = lost().times()
    assert exits["over full depth"].startswith("2.00")
    assert exits["over fixed depth"].startswith("0.83")
    assert full["over full depth"].startswith("1.00")


def test_what_exits_take_beyond_fixed_depth_falls_into_parts_that_sum_to_it():
    shares = {part["beyond fixed depth"]: part["share of its time"] for part in lost().parts()}
    assert [float(text.split()[0]) for text in shares.values()] == [0.05, 0.02, 0.03, 0.1, 0.2]


def test_layers_run_on_the_rows_that_reach_them():
    batch = Batch.from_lists([[2, 5, 3], [2, 6, 7, 8, 3]])
    way = Way(tiny(), batch)
    way.depth_B = torch.tensor([1, 2])  # as if the rule had said so
    assert [packed.layout.lengths_B.tolist() for packed in way.survivors] == [[3, 5], [5]]
    assert longer([way], depth=1.5) == pytest.approx((3 + 2 * 5) / (1.5 * 8))
