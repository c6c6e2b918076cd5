"""A second voice where the margin is low, by hand."""

import numpy as np
import pytest
import torch
from models import ragged

from eat_lightning.methods.exit.confidence import Confidence
from eat_lightning.methods.exit.never import Never
from eat_lightning.methods.exit.patience import Patience
from eat_lightning.methods.policy.veto import Veto
from eat_lightning.model.packed import Batch
from eat_lightning.model.policies import idle_faults
from eat_lightning.model.reason import FIRST_REASON, Reason

STAYS, GO, VETOED = int(Reason.STAYS), FIRST_REASON, int(Reason.VETOED)
BATCH = ragged((3, 4, 5, 6))
HERE = np.arange(4)


def logits(*firsts: list[float]) -> np.ndarray:
    """Of two classes, by the first one's probability at each exit."""
    p_EB = np.array(firsts)
    return np.log(np.stack([p_EB, 1 - p_EB], axis=-1))


def reviewed(policy: Veto, reasons: list[int], logits_EBC: np.ndarray) -> list[int]:
    return policy.reviews(np.array(reasons), logits_EBC, BATCH, HERE).tolist()


def test_two_exits_agree_or_it_stays():
    """Leads 0.1, 0.1, 0.6 and 0.1; the first agrees with the exit before, the others do not."""
    found = logits([0.9, 0.4, 0.4, 0.4], [0.55, 0.55, 0.8, 0.55])
    assert reviewed(Veto(0.2), [GO, GO, GO, STAYS], found) == [GO, VETOED, GO, STAYS]
    assert reviewed(Veto(0.7), [GO, GO, GO, STAYS], found) == [GO, VETOED, VETOED, STAYS]
    assert reviewed(Veto(0.05), [GO] * 4, found) == [GO] * 4


def test_the_first_exit_has_no_second_voice():
    found = logits([0.55, 0.45, 0.8, 0.95])
    assert reviewed(Veto(0.2), [GO] * 4, found) == [VETOED, VETOED, GO, GO]


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


def test_the_second_run_is_asked_of_doubtful_ones_alone(monkeypatch: pytest.MonkeyPatch):
    """Lengths 3, 4, 5, 6; class 0 for those of even length."""
    policy = Veto(0.2)
    policy.run, policy.second = "second", Second()
    found = logits([0.55, 0.55, 0.45, 0.95])
    assert reviewed(policy, [GO] * 4, found) == [VETOED, GO, GO, GO]
    assert policy.second.asked == [3, 4, 5]
    assert reviewed(policy, [GO] * 4, logits([0.95] * 4)) == [GO] * 4
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
def test_a_margin_that_nobody_falls_below(margin: float, rule, idle: bool):
    """At a tau of 0.9 whoever leaves leads by 0.9 - 0.1 or more."""
    faults = idle_faults((Veto(margin),), rule)
    assert bool(faults) == idle
    if idle:
        assert faults[0].startswith("policy.veto.margin must be above 0.8, got 0.8: ")
