"""Thresholds by hand, and the recall that they keep over thousands of samples."""

from math import inf

import numpy as np
import pytest

from experiments.phishing.rows import threshold_for


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
