"""Thresholds, shares and ranks by hand; the promise of a threshold over thousands of samples."""

from math import inf

import numpy as np
import pytest

from experiments.phishing.triage import handed_on, threshold_for

SCORES = np.array([0.9, 0.8, 0.7, 0.6, 0.65, 0.3, 0.2, 0.1])
POSITIVE = np.array([1, 1, 1, 1, 0, 0, 0, 0], bool)


def test_threshold_by_hand():
    """Of 19 positives one in twenty may be missed: the lowest is the threshold that misses none
    here, and the second lowest would miss one in ten of new ones."""
    scores, positive = np.arange(20) / 20, np.arange(20) > 0
    assert threshold_for(scores, positive, 0.95) == 1 / 20
    assert threshold_for(scores, positive, 0.90) == 2 / 20
    assert threshold_for(scores, positive, 0.99) == -inf
    assert threshold_for(scores, ~positive, 0.5) == 0.0


@pytest.mark.parametrize("recall", [0.9, 0.95])
def test_recall_is_kept_in_expectation(recall: float):
    """Over 4,000 calibration samples of 39 positives; a threshold one step laxer breaks it."""
    rng = np.random.default_rng(0)
    kept, laxer = [], []
    for _ in range(4000):
        scores = rng.random(39)
        threshold = threshold_for(scores, np.ones(39, bool), recall)
        kept.append(1 - threshold)  # of new scores, uniform too
        laxer.append(1 - np.sort(scores)[np.searchsorted(np.sort(scores), threshold) + 1])
    error = 3 * np.std(kept) / np.sqrt(len(kept))
    assert np.mean(kept) == pytest.approx(recall, abs=error)
    assert np.mean(laxer) < recall - error


def test_shares_by_hand():
    found = handed_on(SCORES, POSITIVE, 0.65)
    assert (found.recall.value, found.negatives.value, found.all.value) == (0.75, 0.25, 0.5)
    assert found.at(0.1) == pytest.approx(0.1 * 0.75 + 0.9 * 0.25)
    assert handed_on(SCORES, POSITIVE, -inf).all.value == 1.0
