"""Statistics against values one can compute, against other libraries, and against simulation."""

import numpy as np
import pytest
import torch
from scipy.stats import binomtest
from torchmetrics.functional.classification import multiclass_calibration_error

from eat_lightning.report.claims.calibration.metrics import aurc, ece, excess_aurc
from eat_lightning.report.intervals import (
    Interval,
    mcnemar,
    mean_interval,
    over_seeds,
    paired_difference,
    roc_area,
    softmax,
    wilson,
)
from eat_lightning.train.callbacks.temperature import ece as ece_of_logits


def test_interval_of_a_mean_by_hand():
    # Resamples of (0, 1) are 00, 01, 10, 11: means 0, 0.5, 1 with 1/4, 1/2, 1/4.
    assert mean_interval(np.array([0, 1])) == Interval(0.5, 0, 1)
    assert mean_interval(np.array([0, 1]), level=0.4) == Interval(0.5, 0.5, 0.5)
    assert mean_interval(np.full(10, 0.5)) == Interval(0.5, 0.5, 0.5)


def test_both_ways_of_resampling_agree():
    """Many different values are resampled one by one, few by their counts."""
    few_B = np.random.default_rng(1).integers(0, 2, 300).astype(float)
    many_B = few_B + np.linspace(0, 1e-9, 300)
    few, many = mean_interval(few_B), mean_interval(many_B)
    assert few.value == pytest.approx(many.value)
    assert (few.low, few.high) == pytest.approx((many.low, many.high), abs=0.004)
    normal = few_B.mean() + np.array([-1.96, 1.96]) * few_B.std() / np.sqrt(300)
    assert (few.low, few.high) == pytest.approx(tuple(normal), abs=0.006)


def test_intervals_cover_the_truth():
    """Of a hundred experiments, an interval of 95 % should miss about five."""
    rng, covered, truth = np.random.default_rng(0), 0, 0.85 - 0.80
    for _ in range(200):
        shared_B = rng.random(250)  # both models find the same examples hard
        a_B, b_B = shared_B < 0.85, shared_B + rng.normal(0, 0.05, 250) < 0.80
        found = paired_difference(a_B, b_B, draws=1000)
        covered += found.low <= truth <= found.high
    assert 0.90 <= covered / 200 <= 0.99


def test_difference_over_seeds():
    """Seeds are averaged example by example: two seeds that are each right on one half are as good
    as a model that is half right everywhere, and no less sure."""
    a_SB = np.array([[1] * 50 + [0] * 50, [0] * 50 + [1] * 50])
    assert paired_difference(a_SB, np.zeros(100)) == Interval(0.5, 0.5, 0.5)
    one = paired_difference(a_SB[0], np.zeros(100))
    assert 0 < one.low < 0.5 < one.high
    assert paired_difference(np.zeros(100), a_SB[:1]).value == -0.5


def test_a_difference_needs_the_same_examples():
    with pytest.raises(ValueError, match="on the same examples, got 5 and 6"):
        paired_difference(np.zeros((2, 5)), np.zeros((2, 6)))
    with pytest.raises(ValueError, match="same examples, got 5, 6"):
        mcnemar(np.zeros(5), np.zeros(6))


def test_mcnemar_by_hand():
    a_B = np.array([1] * 6 + [0] + [1] * 20)
    b_B = np.array([0] * 6 + [1] + [1] * 20)
    # One of seven discordant pairs, or fewer, either way: 2 (1 + 7) / 2^7.
    assert mcnemar(a_B, b_B) == pytest.approx(16 / 128)
    assert mcnemar(a_B, a_B) == 1.0


@pytest.mark.parametrize(("right", "n"), [(0, 5), (5, 5), (3, 10), (820, 872)])
def test_wilson_is_scipys(right: int, n: int):
    theirs = binomtest(right, n).proportion_ci(method="wilson")
    ours = wilson(right, n)
    assert (ours.value, ours.low, ours.high) == pytest.approx((right / n, theirs.low, theirs.high))


def test_speed_ups_over_seeds():
    found = over_seeds([Interval(1.5, 1.4, 1.6), Interval(1.7, 1.65, 1.75)])
    assert found == Interval(1.6, 1.4, 1.75)


def test_ratios_divide_the_extremes():
    found = Interval(6.0, 5.0, 8.0)
    assert found.over(Interval(2.0, 1.0, 4.0)) == Interval(3.0, 1.25, 8.0)
    assert found.inverse == Interval(1 / 6, 1 / 8, 1 / 5)
    assert found.text(1, "+") == "+6.0 (+5.0 to +8.0)"


def test_area_under_roc_counts_couples():
    positives, others = np.array([3.0, 1.0, 2.0]), np.array([2.0, 0.0])  # six couples, one equal
    assert roc_area(positives, others) == pytest.approx(4.5 / 6)
    assert roc_area(-positives, -others) == pytest.approx(1.5 / 6)


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
