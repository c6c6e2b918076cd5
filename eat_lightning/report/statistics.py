"""What can be said from so many examples: intervals, paired comparisons, calibration, selection.

Shapes: B examples, S seeds, C classes, E exits, U different values, D draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest, norm

CHUNK = 2_000_000  # random indices held at once: 16 MB


@dataclass(frozen=True)
class Interval:
    """A number and the ends of its interval, in the same unit."""

    value: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        return self.low > 0 or self.high < 0

    def times(self, factor: float) -> Interval:
        """In another unit, such as points for shares: factor above 0."""
        return Interval(self.value * factor, self.low * factor, self.high * factor)


@dataclass(frozen=True)
class Bin:
    """Examples whose confidence is in (low, high]: how sure they were, and how often right."""

    low: float
    high: float
    n: int
    confidence: float
    accuracy: Interval


@dataclass(frozen=True)
class Oracle:
    """accuracy: share of examples that some exit gets right. depth: layers until the first such
    exit, all of them where there is none. least_depth: with those leaving at the first exit."""

    accuracy: float
    depth: float
    least_depth: float


def mean_interval(
    values_B: np.ndarray, level: float = 0.95, draws: int = 10_000, seed: int = 0
) -> Interval:
    """Mean over examples with its percentile bootstrap interval (Efron 1979): examples are
    resampled. Of equal values it has no width: for shares near 0 or 1 see `wilson`."""
    values_B = np.asarray(values_B, dtype=np.float64)
    if values_B.ndim != 1 or not len(values_B):
        raise ValueError(f"values_B must hold one value per example, got shape {values_B.shape}")
    means_D = resampled_means(values_B, draws, np.random.default_rng(seed))
    low, high = np.quantile(means_D, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(values_B.mean()), float(low), float(high))


def resampled_means(values_B: np.ndarray, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Means of `draws` resamples. Where few values differ (right or wrong) it is enough to draw how
    often each comes, which is the same distribution and a thousand times faster."""
    size = len(values_B)
    values_U, counts_U = np.unique(values_B, return_counts=True)
    if len(values_U) <= 50:
        return rng.multinomial(size, counts_U / size, draws) @ values_U / size
    at_once = max(1, CHUNK // size)
    parts = [min(at_once, draws - done) for done in range(0, draws, at_once)]
    return np.concatenate([values_B[rng.integers(size, size=(n, size))].mean(1) for n in parts])


def paired_difference(
    a_SB: np.ndarray, b_SB: np.ndarray, level: float = 0.95, draws: int = 10_000, seed: int = 0
) -> Interval:
    """Mean of a - b on the same examples, with its paired bootstrap interval.

    Each side is averaged over its seeds, example by example (the numbers of seeds may differ), then
    examples are resampled: the interval is of other examples for these seeds, not of other seeds.
    """
    a_SB, b_SB = (np.atleast_2d(np.asarray(x, dtype=np.float64)) for x in (a_SB, b_SB))
    if a_SB.shape[1] != b_SB.shape[1]:
        sizes = f"{a_SB.shape[1]} and {b_SB.shape[1]}"
        raise ValueError(f"a difference must be on the same examples, got {sizes} of them")
    return mean_interval(a_SB.mean(0) - b_SB.mean(0), level, draws, seed)


def mcnemar(a_B: np.ndarray, b_B: np.ndarray) -> float:
    """Exact two-sided p of McNemar's test (1947) that a and b are right equally often: a binomial
    test on the examples where one is right alone; 1.0 where there are none."""
    a_B, b_B = np.asarray(a_B, dtype=bool), np.asarray(b_B, dtype=bool)
    if a_B.shape != b_B.shape:
        raise ValueError(f"McNemar's test must be on the same examples, got {a_B.size}, {b_B.size}")
    only_a, only_b = int((a_B & ~b_B).sum()), int((b_B & ~a_B).sum())
    return float(binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0


def wilson(successes: float, n: float, level: float = 0.95) -> Interval:
    """A share with its score interval (Wilson 1927), which has a width at 0 and 1 too."""
    if not 0 <= successes <= n or n <= 0:
        raise ValueError(f"successes must be in [0, n] and n above 0, got {successes} of {n}")
    z, share = float(norm.ppf((1 + level) / 2)), successes / n
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return Interval(share, float(max(0.0, centre - half)), float(min(1.0, centre + half)))


def ratio_interval(
    values: Sequence[float], lows: Sequence[float], highs: Sequence[float]
) -> Interval:
    """A speed-up over seeds: the mean of theirs, and the widest of their intervals over repeats."""
    return Interval(float(np.mean(values)), float(min(lows)), float(max(highs)))


def softmax(logits_BC: np.ndarray) -> np.ndarray:
    """Class probabilities, in float64: in float32 many a confidence is exactly 1."""
    logits_BC = np.asarray(logits_BC, dtype=np.float64)
    exp_BC = np.exp(logits_BC - logits_BC.max(1, keepdims=True))
    return exp_BC / exp_BC.sum(1, keepdims=True)


def confidence(logits_BC: np.ndarray) -> np.ndarray:
    """The largest class probability of each example."""
    return softmax(logits_BC).max(1)


def ece(confidence_B: np.ndarray, correct_B: np.ndarray, num_bins: int = 15) -> float:
    """Expected calibration error over bins of equal width (EAT, section 7.2; Guo et al. 2017):
    |accuracy - mean confidence|, weighted by the bins' sizes, 0 ... 1. Above 0 by chance alone:
    see `ece_when_calibrated`."""
    return gap(confidence_B, correct_B, equal_width(confidence_B, num_bins))


def adaptive_ece(confidence_B: np.ndarray, correct_B: np.ndarray, num_bins: int = 15) -> float:
    """The same over bins of equal numbers of examples (Nguyen and O'Connor 2015). Examples of equal
    confidence share their accuracy, so that their order does not matter."""
    return gap(confidence_B, shared(confidence_B, correct_B), equal_mass(confidence_B, num_bins))


def gap(confidence_B: np.ndarray, correct_B: np.ndarray, bin_B: np.ndarray) -> float:
    signed_B = np.asarray(correct_B, dtype=np.float64) - confidence_B
    return float(np.abs(np.bincount(bin_B, signed_B)).sum() / len(signed_B))


def equal_width(confidence_B: np.ndarray, num_bins: int) -> np.ndarray:
    """Each example's bin, 0 ... num_bins - 1; an upper edge belongs to its bin, as in Guo et al."""
    return np.digitize(confidence_B, np.linspace(0, 1, num_bins + 1)[1:-1], right=True)


def equal_mass(confidence_B: np.ndarray, num_bins: int) -> np.ndarray:
    """Bins of sizes that differ by one at most."""
    bin_B = np.empty(len(confidence_B), dtype=np.int64)
    order_B = np.argsort(confidence_B, kind="stable")
    for number, rows in enumerate(np.array_split(order_B, num_bins)):
        bin_B[rows] = number
    return bin_B


def shared(confidence_B: np.ndarray, values_B: np.ndarray) -> np.ndarray:
    """Each value replaced by the mean over the examples of the same confidence."""
    _, group_B = np.unique(confidence_B, return_inverse=True)
    sums = np.bincount(group_B, np.asarray(values_B, dtype=np.float64))
    return (sums / np.bincount(group_B))[group_B]


def ece_when_calibrated(
    confidence_B: np.ndarray,
    num_bins: int = 15,
    level: float = 0.95,
    draws: int = 500,
    seed: int = 0,
) -> Interval:
    """Mean and range of the ECE that a perfectly calibrated model with these confidences shows:
    each answer is drawn right with the probability that it claims."""
    rng, bin_B = np.random.default_rng(seed), equal_width(confidence_B, num_bins)
    correct = (rng.random(len(confidence_B)) < confidence_B for _ in range(draws))
    errors_D = np.array([gap(confidence_B, correct_B, bin_B) for correct_B in correct])
    low, high = np.quantile(errors_D, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(errors_D.mean()), float(low), float(high))


def reliability(confidence_B: np.ndarray, correct_B: np.ndarray, num_bins: int = 15) -> list[Bin]:
    """The bins of a reliability diagram, of equal width; empty ones are left out."""
    edges, bin_B, bins = np.linspace(0, 1, num_bins + 1), equal_width(confidence_B, num_bins), []
    for number in np.unique(bin_B):
        here_B = bin_B == number
        n, right = int(here_B.sum()), int(np.asarray(correct_B)[here_B].sum())
        ends = float(edges[number]), float(edges[number + 1])
        bins.append(Bin(*ends, n, float(confidence_B[here_B].mean()), wilson(right, n)))
    return bins


def brier(probabilities_BC: np.ndarray, labels_B: np.ndarray) -> float:
    """Mean of `brier_scores`, 0 ... 2 (Brier 1950)."""
    return float(brier_scores(probabilities_BC, labels_B).mean())


def brier_scores(probabilities_BC: np.ndarray, labels_B: np.ndarray) -> np.ndarray:
    """Each example's squared distance from the truth, summed over classes: 0 sure and right, 2 sure
    and wrong, 0.5 undecided between two classes."""
    truth_BC = np.eye(probabilities_BC.shape[1])[np.asarray(labels_B)]
    return ((probabilities_BC - truth_BC) ** 2).sum(1)


def risk_coverage(confidence_B: np.ndarray, correct_B: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coverage and risk of answering only the surest 1, 2 ... B examples (Geifman and El-Yaniv
    2017): risk is the error rate among them. Of equal confidences the order is random: its mean."""
    wrong_B = 1 - shared(confidence_B, correct_B)
    answered_B = np.arange(1, len(wrong_B) + 1)
    risk_B = np.cumsum(wrong_B[np.argsort(-np.asarray(confidence_B), kind="stable")]) / answered_B
    return answered_B / len(wrong_B), risk_B


def aurc(confidence_B: np.ndarray, correct_B: np.ndarray) -> float:
    """Area under the risk-coverage curve, 0 ... 1: the mean risk over all coverages. Depends on the
    order of confidences alone, so no temperature changes it for two classes."""
    return float(risk_coverage(confidence_B, correct_B)[1].mean())


def excess_aurc(confidence_B: np.ndarray, correct_B: np.ndarray) -> float:
    """AURC above that of a ranking with every right answer before every wrong one (E-AURC, Geifman
    et al. 2019): how well confidence ranks, whatever the accuracy."""
    return aurc(confidence_B, correct_B) - aurc(np.asarray(correct_B, dtype=float), correct_B)


def oracle_exit(correct_EB: np.ndarray, layers: Sequence[int]) -> Oracle:
    """Each example leaves at the first of `layers` (the last is the body's) whose guess is right.

    No rule is more accurate. One can be shallower only by giving up right answers, or on examples
    that no exit gets right: `least_depth` lets those leave at once.
    """
    correct_EB, layers_E = np.asarray(correct_EB, dtype=bool), np.asarray(layers)
    if correct_EB.shape[0] != len(layers_E) or np.any(np.diff(layers_E) <= 0):
        raise ValueError(f"layers must ascend, one for each exit, got {list(layers)}")
    ever_B = correct_EB.any(0)
    first_B = layers_E[correct_EB.argmax(0)]  # the first exit where none is right
    depth = float(np.where(ever_B, first_B, layers_E[-1]).mean())
    return Oracle(float(ever_B.mean()), depth, float(first_B.mean()))
