"""Calibration and ranking of confidences: ECE, Brier scores, AURC.

Shapes: B examples, C classes, D draws.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from eat_lightning.report.intervals import Interval, softmax, wilson
from eat_lightning.report.study import KeptRow

BINS = 15  # EAT, section 7.2


@dataclass(frozen=True)
class Bin:
    """Examples with confidence in (low, high]: their mean confidence and accuracy."""

    low: float
    high: float
    n: int
    confidence: float
    accuracy: Interval


class Head:
    """The head of one run at `layer`, before and after its temperature.

    `values` are in percent, except temperature and Brier scores. `chance` is the ECE that perfect
    calibration would show with these confidences. Logits are recorded after the temperature was
    fitted; multiplying them by it restores those before.
    """

    def __init__(self, measured: KeptRow, layer: int):
        self.measured, self.layer = measured, layer
        record = measured.record
        labels_B, after_BC = record.labels, record.guesses[layer].astype(np.float64)
        self.temperature = measured.row.temperature.get(str(layer))
        self.logits = {"before": after_BC * (self.temperature or 1.0), "after": after_BC}
        shares = {when: softmax(logits_BC) for when, logits_BC in self.logits.items()}
        sure = {when: share_BC.max(1) for when, share_BC in shares.items()}
        correct_B = after_BC.argmax(1) == labels_B
        self.brier = {when: brier_scores(share_BC, labels_B) for when, share_BC in shares.items()}
        self.bins = {when: reliability(sure_B, correct_B) for when, sure_B in sure.items()}
        self.chance = ece_when_calibrated(sure["after"]).times(100)
        self.values = {"accuracy": 100 * correct_B.mean(), "temperature": self.temperature}
        for when, sure_B in sure.items():
            self.values |= {
                f"confidence_{when}": 100 * sure_B.mean(),
                f"ece_{when}": 100 * ece(sure_B, correct_B),
                f"adaptive_ece_{when}": 100 * adaptive_ece(sure_B, correct_B),
                f"brier_{when}": self.brier[when].mean(),
                f"aurc_{when}": 100 * aurc(sure_B, correct_B),
                f"excess_aurc_{when}": 100 * excess_aurc(sure_B, correct_B),
            }


def ece(confidence_B: np.ndarray, correct_B: np.ndarray, num_bins: int = BINS) -> float:
    """Expected calibration error over bins of equal width (EAT, section 7.2; Guo et al. 2017).

    It is |accuracy - mean confidence| weighted by bin size, in [0, 1]. Even a calibrated model has
    a value above 0 by chance, see `ece_when_calibrated`.
    """
    return gap(confidence_B, correct_B, equal_width(confidence_B, num_bins))


def adaptive_ece(confidence_B: np.ndarray, correct_B: np.ndarray, num_bins: int = BINS) -> float:
    """Expected calibration error over bins of equal size (Nguyen and O'Connor 2015).

    Examples of equal confidence share their mean accuracy, so that their order does not matter.
    """
    return gap(confidence_B, shared(confidence_B, correct_B), equal_mass(confidence_B, num_bins))


def gap(confidence_B: np.ndarray, correct_B: np.ndarray, bin_B: np.ndarray) -> float:
    signed_B = np.asarray(correct_B, dtype=np.float64) - confidence_B
    return float(np.abs(np.bincount(bin_B, signed_B)).sum() / len(signed_B))


def equal_width(confidence_B: np.ndarray, num_bins: int) -> np.ndarray:
    """Return each example's bin, 0 ... num_bins - 1. Upper edges belong to a bin, as in
    Guo et al.
    """
    return np.digitize(confidence_B, np.linspace(0, 1, num_bins + 1)[1:-1], right=True)


def equal_mass(confidence_B: np.ndarray, num_bins: int) -> np.ndarray:
    """Return bins whose sizes differ by at most one."""
    bin_B = np.empty(len(confidence_B), dtype=np.int64)
    order_B = np.argsort(confidence_B, kind="stable")
    for number, rows in enumerate(np.array_split(order_B, num_bins)):
        bin_B[rows] = number
    return bin_B


def shared(confidence_B: np.ndarray, values_B: np.ndarray) -> np.ndarray:
    """Replace each value by the mean over the examples with the same confidence."""
    _, group_B = np.unique(confidence_B, return_inverse=True)
    sums = np.bincount(group_B, np.asarray(values_B, dtype=np.float64))
    return (sums / np.bincount(group_B))[group_B]


def ece_when_calibrated(
    confidence_B: np.ndarray,
    num_bins: int = BINS,
    level: float = 0.95,
    draws: int = 500,
    seed: int = 0,
) -> Interval:
    """Mean and range of the ECE of a perfectly calibrated model with these confidences.

    It is simulated: each answer is correct with a probability equal to its confidence.
    """
    rng, bin_B = np.random.default_rng(seed), equal_width(confidence_B, num_bins)
    correct = (rng.random(len(confidence_B)) < confidence_B for _ in range(draws))
    errors_D = np.array([gap(confidence_B, correct_B, bin_B) for correct_B in correct])
    low, high = np.quantile(errors_D, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(errors_D.mean()), float(low), float(high))


def reliability(confidence_B: np.ndarray, correct_B: np.ndarray, num_bins: int = BINS) -> list[Bin]:
    """Return the bins of a reliability diagram, of equal width; empty bins are left out."""
    edges, bin_B, bins = np.linspace(0, 1, num_bins + 1), equal_width(confidence_B, num_bins), []
    for number in np.unique(bin_B):
        here_B = bin_B == number
        n, right = int(here_B.sum()), int(np.asarray(correct_B)[here_B].sum())
        ends = float(edges[number]), float(edges[number + 1])
        bins.append(Bin(*ends, n, float(confidence_B[here_B].mean()), wilson(right, n)))
    return bins


def brier_scores(probabilities_BC: np.ndarray, labels_B: np.ndarray) -> np.ndarray:
    """Squared distance of each example's probabilities from the one-hot label, summed over classes.

    It is 0 for a certain correct answer, 2 for a certain wrong one, and 0.5 at equal probability of
    two classes.
    """
    truth_BC = np.eye(probabilities_BC.shape[1])[np.asarray(labels_B)]
    return ((probabilities_BC - truth_BC) ** 2).sum(1)


def risk_coverage(confidence_B: np.ndarray, correct_B: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return coverage and risk when only the 1, 2 ... B most confident examples are answered
    (Geifman and El-Yaniv 2017). Risk is their error rate, averaged over random orders of equal
    confidences.
    """
    wrong_B = 1 - shared(confidence_B, correct_B)
    answered_B = np.arange(1, len(wrong_B) + 1)
    risk_B = np.cumsum(wrong_B[np.argsort(-np.asarray(confidence_B), kind="stable")]) / answered_B
    return answered_B / len(wrong_B), risk_B


def aurc(confidence_B: np.ndarray, correct_B: np.ndarray) -> float:
    """Area under the risk-coverage curve, in [0, 1]: the mean risk over all coverages. It depends
    only on the order of confidences, so a temperature cannot change it for two classes.
    """
    return float(risk_coverage(confidence_B, correct_B)[1].mean())


def excess_aurc(confidence_B: np.ndarray, correct_B: np.ndarray) -> float:
    """Excess AURC over that of a perfect ranking (E-AURC, Geifman et al. 2019). It measures how
    well confidence ranks answers, regardless of accuracy.
    """
    return aurc(confidence_B, correct_B) - aurc(np.asarray(correct_B, dtype=float), correct_B)
