"""Risks on answers that a person can check, and the slot's rules for their losses."""

import numpy as np
import pytest
from models import kinds, method

from eat_lightning.deploy.certify.risk.accuracy_gap import AccuracyGap
from eat_lightning.deploy.certify.risk.disagreement import Disagreement
from eat_lightning.deploy.certify.risk.false_negatives import FalseNegatives
from eat_lightning.deploy.certify.risk.harm import Harm

#                 both right, harm, repaired, both wrong alike, both wrong
FULL = np.array([1, 1, 0, 0, 2])
EARLY = np.array([1, 0, 1, 0, 0])
LABEL = np.array([1, 1, 1, 1, 1])


def test_losses_by_hand():
    assert Harm().losses(FULL, EARLY, LABEL).tolist() == [0, 1, 0, 0, 0]
    gaps = AccuracyGap().losses(FULL, EARLY, LABEL)
    assert gaps.tolist() == [0, 1, -1, 0, 0]
    assert gaps.mean() == pytest.approx((FULL == LABEL).mean() - (EARLY == LABEL).mean())
    unread = np.full(5, np.nan)
    assert Disagreement().losses(FULL, EARLY, unread).tolist() == [0, 1, 1, 0, 1]
    missed = FalseNegatives(1).losses(FULL, EARLY, np.array([1, 0, 1, 1, 2]))
    assert np.array_equal(missed, [0, np.nan, 0, 1, np.nan], equal_nan=True)


@pytest.mark.parametrize("kind", kinds("risk"))
def test_losses_are_what_the_slot_says(kind: str):
    """Between `low` and 1, and 0 at full depth where the risk says so; points may come first."""
    risk, rng = method("risk", kind), np.random.default_rng(0)
    full_B, label_B = rng.integers(0, 3, (2, 200))
    early_TB = rng.integers(0, 3, (4, 200))
    losses_TB = risk.losses(full_B, early_TB, label_B)
    counted = losses_TB[~np.isnan(losses_TB)]
    assert losses_TB.shape == early_TB.shape
    assert {*counted} <= {*range(risk.low, 2)}
    assert risk.low in counted
    at_full_depth = risk.losses(full_B, full_B, label_B)
    assert risk.none_at_full_depth == (not at_full_depth[~np.isnan(at_full_depth)].any())
    for early_B, losses_B in zip(early_TB, losses_TB, strict=True):
        assert np.array_equal(risk.losses(full_B, early_B, label_B), losses_B, equal_nan=True)
