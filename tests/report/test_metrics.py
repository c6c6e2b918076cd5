"""Calibration metrics against values one can compute, and against a library."""

import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import multiclass_calibration_error

from eat_lightning.report.claims.calibration.metrics import aurc, ece, excess_aurc
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
