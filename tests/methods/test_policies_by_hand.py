"""Policies by hand: whom they hold back, how many tokens they ask for, and who runs every layer."""

from typing import Any

import numpy as np
import pytest
import torch
from helpers.models import ragged, tiny

from eat_lightning.methods.exit.confidence import Confidence
from eat_lightning.methods.exit.never import Never
from eat_lightning.methods.exit.patience import Patience
from eat_lightning.methods.policy.full_depth import FullDepth
from eat_lightning.methods.policy.min_retention import MinRetention, gentlest
from eat_lightning.methods.policy.per_source import PerSource
from eat_lightning.methods.policy.veto import Veto
from eat_lightning.model.packed import Batch
from eat_lightning.model.policies import idle_faults
from eat_lightning.model.reason import FIRST_REASON, Reason

STAYS, GO, VETOED = int(Reason.STAYS), FIRST_REASON, int(Reason.VETOED)
TAUS = {"mail": 0.9, "web": [0.6, 0.8]}
SOURCES = ["mail", "mail", "web", "web"]
FIRST, SECOND = [0.85, 0.95, 0.7, 0.55], [0.95, 0.85, 0.7, 0.85]
# Leads 0.1, 0.1, 0.6 and 0.1; the first agrees with the exit before, the others do not.
VOICES = [0.9, 0.4, 0.4, 0.4], [0.55, 0.55, 0.8, 0.55]
LONG = (21, 21, 21)


def known(*sources: str | None) -> Batch:
    """Examples of 3, 4, 5 ... tokens, and where each comes from."""
    batch = ragged(tuple(range(3, 3 + len(sources))))
    batch.about = [{} if source is None else {"source": source} for source in sources]
    return batch


def reviewed(policy: Any, batch: Batch, exits: tuple[list[float], ...], *stay: int) -> list[int]:
    """Reasons of examples whose first class has these probabilities at each exit. stay: those that
    the exit rule does not let go."""
    p_EB = np.array(exits)
    reason_B = np.full(batch.size, GO)
    reason_B[[*stay]] = STAYS
    logits_EBC = np.log(np.stack([p_EB, 1 - p_EB], axis=-1))
    return policy.reviews(reason_B, logits_EBC, batch, np.arange(batch.size)).tolist()


@pytest.mark.parametrize(
    ("policy", "sources", "exits", "wanted"),
    [
        (PerSource(TAUS), SOURCES, (FIRST,), [STAYS, GO, GO, STAYS]),
        (PerSource(TAUS), SOURCES, (FIRST, SECOND), [GO, STAYS, STAYS, GO]),
        (PerSource(TAUS, strict=False), ["phone", None], ([0.5, 0.5],), [GO, GO]),
        (Veto(0.2), [None] * 4, VOICES, [GO, VETOED, GO, VETOED]),
        (Veto(0.7), [None] * 4, VOICES, [GO, VETOED, VETOED, VETOED]),
        (Veto(0.05), [None] * 4, VOICES, [GO] * 4),
        # The first exit has no second voice.
        (Veto(0.2), [None] * 4, ([0.55, 0.45, 0.8, 0.95],), [VETOED, VETOED, GO, GO]),
    ],
)
def test_whom_it_holds_back(policy: Any, sources: list, exits: Any, wanted: list[int]):
    assert reviewed(policy, known(*sources), exits) == wanted
    assert reviewed(policy, known(*sources), exits, 0)[0] == STAYS  # it lets nobody go


@pytest.mark.parametrize(
    ("policy", "full"),
    [
        (FullDepth(sources=["web*"], mimes=["TEXT/*"]), [False, True, False, True]),
        (FullDepth(sources=["*"]), [True] * 4),
        (FullDepth(active=False), None),
        (PerSource(TAUS), [False, True, True, True]),  # an unknown source, under strict
        (PerSource(TAUS, strict=False), None),
    ],
)
def test_who_runs_every_layer(policy: Any, full: list[bool] | None):
    batch = ragged((2, 3, 4, 5))
    batch.about = [
        {"source": "mail"},
        {"mime": "text/html; charset=utf-8"},
        {},
        {"source": "web-3"},
    ]
    found_B = policy.requests(batch, None).full_B
    assert (None if found_B is None else found_B.tolist()) == full


def test_full_depth_is_switched_while_running():
    encoder, batch = tiny("dense", "norm_topk", "confidence"), ragged()
    switch = FullDepth(active=False)
    encoder.policies = (switch,)
    assert encoder(batch).depth_B.tolist() == [6, 4, 4, 3, 6]
    switch.active = True
    trace = encoder(batch)
    assert trace.depth_B.tolist() == [6] * 5
    assert trace.reason_B.tolist() == [Reason.FALLBACK] * 5
    switch.active = False
    whole, parts = encoder(batch), encoder.stream(batch)
    depths = [next(parts)[1].depth_B[0].item()]
    switch.active = True  # what has started is not switched
    depths += [part.depth_B[0].item() for _, part in parts]
    assert depths == sorted({*whole.depth_B.tolist()}) == [3, 4, 6]


@pytest.mark.parametrize(
    ("share", "ratios", "strength"),
    [
        (0.81, [0.2, 0.2], 0.5),  # 0.9 x 0.9
        (0.72, [0.2, 0.4], 0.5),  # 0.9 x 0.8
        (0.5, [0.3], 1.0),  # 0.7 is more than asked for
        (1.0, [0.3], 0.0),
        (0.9, [], 1.0),
        (0.9, None, 0.0),
    ],
)
def test_the_gentlest_strength(share: float, ratios: list[float] | None, strength: float):
    assert gentlest(share, ratios) == pytest.approx(strength, abs=1e-9)


def test_tokens_by_hand():
    """0.81 of 21 at ratio 0.4 in two layers: strength 0.25, so 2 of 20 go, then 1 of 18. A model's
    own strength is not raised: at 0.125, 0.05 of 20 go, then of 19."""
    encoder, batch = tiny("dense", "norm_topk"), ragged(LONG)
    encoder.policies = (MinRetention(0.81, sources=["mail"], mimes=["image/*"]),)
    batch.about = [{"source": "mail"}, {"source": "web"}, {"mime": "Image/PNG; q=1"}]
    tokens = encoder(batch).tokens_LB.T.tolist()
    assert tokens == [[21, 21, 19, 19, 18, 18], [21, 21, 13, 13, 9, 9], [21, 21, 19, 19, 18, 18]]
    encoder.strength.fill_(0.125)
    assert encoder(batch).tokens_LB[:, 0].tolist() == [21, 21, 20, 20, 20, 20]


@pytest.mark.parametrize("share", [0.5, 0.66, 0.8, 0.95])
def test_nobody_keeps_less(share: float):
    encoder = tiny("dense", "norm_topk")
    encoder.policies = (MinRetention(share),)
    retention_B = encoder(ragged(tuple(range(1, 39)))).retention_B
    assert (retention_B >= share).all()
    assert share > 0.9 or (retention_B < 1).any()


class Second:
    """Says class 0 of examples of even length, and keeps what it was asked."""

    def __init__(self):
        self.asked: list[int] = []

    def to(self, device):
        return self

    def __call__(self, batch: Batch):
        self.asked += batch.lengths_B.tolist()
        odd_B = batch.lengths_B % 2
        return type("Trace", (), {"logits_BC": torch.nn.functional.one_hot(odd_B, 2).float()})


def test_the_second_run_is_asked_of_doubtful_ones_alone():
    """Lengths 3, 4, 5, 6; class 0 for those of even length."""
    policy, batch = Veto(0.2), known(*[None] * 4)
    policy.run, policy.second = "second", Second()
    assert reviewed(policy, batch, ([0.55, 0.55, 0.45, 0.95],)) == [VETOED, GO, GO, GO]
    assert policy.second.asked == [3, 4, 5]
    assert reviewed(policy, batch, ([0.95] * 4,)) == [GO] * 4
    assert policy.second.asked == [3, 4, 5]


@pytest.mark.parametrize(
    ("margin", "rule", "idle"),
    [
        (0.8, Confidence(0.9), True),
        (0.81, Confidence(0.9), False),
        (0.5, Confidence([0.8, 0.7], [2, 4]), False),  # by 0.4 at the second
        (0.5, Patience(), False),
        (0.5, Never(), False),
    ],
)
def test_a_margin_that_nobody_falls_below(margin: float, rule: Any, idle: bool):
    """At a tau of 0.9 whoever leaves leads by 0.9 - 0.1 or more."""
    faults = idle_faults((Veto(margin),), rule)
    assert bool(faults) == idle
    if idle:
        assert faults[0].startswith("policy.veto.margin must be above 0.8, got 0.8: ")
