"""Calibration metrics and the oracle against values one can compute, and against libraries."""

from itertools import product

import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import multiclass_calibration_error

from eat_lightning.measure.oracle import oracle_exit
from eat_lightning.report.claims.calibration.metrics import (
    aurc,
    ece,
    excess_aurc,
)
from eat_lightning.report.intervals import softmax
from eat_lightning.train.callbacks.temperature import ece as ece_of_logits


@pytest.mark.parametrize("seed", range(3))
def test_ece_is_torchmetrics(seed: int):
    rng = np.random.default_rng(seed)
    logits_BC, labels_B = rng.normal(0, 2, (500, 3)), rng.integers(0, 3, 500)
    ours = ece(softmax(logits_BC).max(1), logits_BC.argmax(1) == labels_B)
    logits, labels = torch.tensor(logits_BC), torch.tensor(labels_B)
    theirs = multiclass_calibration_error(logits.softmax(1), labels, 3, n_bins=15, norm="l1")
    assert ours == pytest.approx(float(theirs), abs=1e-6)
    assert ours == pytest.approx(ece_of_logits(logits, labels), abs=1e-6)  # what training fits by


def test_aurc_of_a_perfect_ranking():
    confidence_B = np.linspace(1, 0.5, 10)
    assert aurc(confidence_B, np.ones(10)) == 0
    correct_B = np.array([1] * 8 + [0, 0])
    assert aurc(confidence_B, correct_B) == pytest.approx((1 / 9 + 2 / 10) / 10)
    assert excess_aurc(confidence_B, correct_B) == pytest.approx(0, abs=1e-12)
    assert excess_aurc(confidence_B[::-1], correct_B) > 0.3


def test_no_way_is_above_the_oracle():
    """Every way that four examples can take through three exits: none is more accurate than the
    oracle's, none as accurate is shallower than its least depth."""
    rng, layers = np.random.default_rng(0), np.array([2, 4, 6])
    for _ in range(10):
        correct_EB = rng.random((3, 4)) < 0.5
        oracle = oracle_exit(correct_EB, layers.tolist())
        for way_B in product(range(3), repeat=4):
            accuracy = correct_EB[list(way_B), range(4)].mean()
            assert accuracy <= oracle.accuracy
            assert accuracy < oracle.accuracy or layers[list(way_B)].mean() >= oracle.least_depth
        assert oracle.least_depth <= oracle.depth
