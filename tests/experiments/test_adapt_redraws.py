"""Redraws of an adaptation's parts, on answers made by hand."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from eat_lightning.answer_kind import SingleLabel
from eat_lightning.deploy.adapt import search
from eat_lightning.deploy.adapt.demand import Demand
from eat_lightning.deploy.adapt.same_answer import SameAnswer
from eat_lightning.infer.recorded import Recorded
from eat_lightning.methods.exit.confidence import Confidence
from experiments.adapt import redraws

NUM, DEMAND = 1000, Demand(0.95, 0.95)


def kept(monkeypatch: pytest.MonkeyPatch, int8_changes: float) -> redraws.Kept:
    """Two classes by turns. fp32 is the original; int8 changes some; the embedding knows nothing of
    a third, of which it is not sure, and all else."""
    rng = np.random.default_rng(0)
    label_N = np.arange(NUM) % 2
    full_NC = 8.0 * np.stack([label_N == 0, label_N == 1], 1) - 4
    early_NC = np.where(rng.random((NUM, 1)) < 1 / 3, 0.01 * rng.standard_normal((NUM, 2)), full_NC)
    other_NC = np.where(rng.random((NUM, 1)) < int8_changes, -full_NC, full_NC)
    rule = Confidence(tau=[1.0, 1.0], layers=[0, 1])
    encoder: Any = SimpleNamespace(exit=rule, shape=SimpleNamespace(num_layers=2, hidden_size=4))
    cost_EB = np.repeat([[0.0], [0.5], [1.0]], NUM, 1)
    monkeypatch.setattr(search, "flops_shares", lambda _, __, found: cost_EB[:, : len(found)])
    length_N = np.full(NUM, 5)
    about = {"tokens_LB": np.tile(length_N, (2, 1)), "exit": rule}
    records = {
        dtype: Recorded(label_N, length_N, {0: early_NC, 1: early_NC, 2: last_NC}, **about)
        for dtype, last_NC in (("fp32", full_NC), ("int8", other_NC))
    }
    return redraws.Kept(SameAnswer(SingleLabel(2), ["a", "b"]), encoder, full_NC, records)


def test_the_sure_two_thirds_leave_before_layer_1(monkeypatch: pytest.MonkeyPatch):
    found = redraws.drawn(kept(monkeypatch, 0.0), DEMAND, seed=0)
    assert found.exits
    assert 0.35 < found.depth < 0.75  # 2 layers for a third, of whom few may leave and be wrong
    assert found.share <= 0.05
    assert found.num_fresh == 400


def test_a_form_that_changes_too_much_is_not_chosen(monkeypatch: pytest.MonkeyPatch):
    found = redraws.drawn(kept(monkeypatch, 0.3), DEMAND, seed=0)
    assert found.name == "our kernels, fp32"


def test_parts_are_drawn_anew(monkeypatch: pytest.MonkeyPatch):
    answers = kept(monkeypatch, 0.02)
    draws = [redraws.drawn(answers, DEMAND, seed) for seed in range(5)]
    assert len({draw.fresh for draw in draws}) > 1
    assert redraws.drawn(answers, DEMAND, 0) == draws[0]
