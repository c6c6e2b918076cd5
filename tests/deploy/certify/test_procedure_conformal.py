"""Conformal risk control: its bound by hand, made monotone, and what it refuses."""

import numpy as np

from eat_lightning.deploy.certify.procedure.conformal import Conformal, controlled


def test_the_bound_by_hand():
    """Of 9 examples none may lose at 10 %, since one more is counted as lost: (0 + 1) / 10."""
    losses = np.zeros((3, 9))
    assert controlled(losses, 0.1) == 3
    losses[1, 0] = 1
    assert controlled(losses, 0.1) == 1
    assert controlled(losses, 0.2) == 3
    assert controlled(np.zeros((3, 8)), 0.1) == 0


def test_a_loss_that_falls_counts_on():
    losses = np.array([[0, 0, 0, 0], [1, 0, 0, 0], [-1, 1, 0, 0], [0, 0, 0, 0]])
    assert controlled(losses, 0.5) == 2  # (1 + 1) / 5, then (2 + 1) / 5
    assert controlled(losses, 0.6) == 4


def test_how_many_are_needed():
    """1 / (99 + 1) is 1 %."""
    assert Conformal().needed(0.01, None, 1, 0, True) == 99
    for num, held in ((98, 0), (99, 1)):
        assert Conformal().certified([np.zeros((1, num))], 0.01)[0] == held
