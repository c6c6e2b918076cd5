"""Confidence intervals and paired comparisons.

Shapes: B examples, P positives and N others, S seeds, C classes, U distinct values, D draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.special
from scipy.stats import binomtest, norm

CHUNK = 2_000_000  # random indices held at once: 16 MB


@dataclass(frozen=True)
class Interval:
    """A number and the ends of its interval, in the same unit."""

    value: float
    low: float
    high: float

    @classmethod
    def exact(cls, value: float) -> Interval:
        """A number without spread."""
        return cls(value, value, value)

    def times(self, factor: float) -> Interval:
        """Convert to another unit, such as shares to points; `factor` must be above 0."""
        return Interval(self.value * factor, self.low * factor, self.high * factor)

    def over(self, other: Interval) -> Interval:
        """Ratio of positive numbers. Its ends divide the extremes, so the interval is
        conservative.
        """
        ends = self.low / other.high, self.high / other.low
        return Interval(self.value / other.value, *ends)

    def as_dict(self) -> dict[str, float]:
        return {"value": self.value, "low": self.low, "high": self.high}

    @property
    def inverse(self) -> Interval:
        return Interval(1 / self.value, 1 / self.high, 1 / self.low)

    def text(self, digits: int = 2, sign: str = "", unit: str = "") -> str:
        """Format as "1.94 (1.88 to 1.99)"; sign "+" marks positive numbers too."""
        value, low, high = (f"{x:{sign}.{digits}f}" for x in (self.value, self.low, self.high))
        return f"{value}{unit} ({low} to {high})"


def over_seeds(found: Sequence[Interval]) -> Interval:
    """Mean of the seeds' values, with the extremes of their intervals."""
    lows, highs = min(each.low for each in found), max(each.high for each in found)
    return Interval(float(np.mean([each.value for each in found])), lows, highs)


def mean_interval(
    values_B: np.ndarray, level: float = 0.95, draws: int = 10_000, seed: int = 0
) -> Interval:
    """Mean over examples with its percentile bootstrap interval (Efron 1979).

    Equal values give an interval of width 0; for shares near 0 or 1 use `wilson`.
    """
    values_B = np.asarray(values_B, dtype=np.float64)
    if values_B.ndim != 1 or not len(values_B):
        raise ValueError(f"values_B must hold one value per example, got shape {values_B.shape}")
    means_D = resampled_means(values_B, draws, np.random.default_rng(seed))
    low, high = np.quantile(means_D, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(values_B.mean()), float(low), float(high))


def resampled_means(values_B: np.ndarray, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Return the means of `draws` resamples. With few distinct values (right or wrong), the counts
    of each value are drawn instead, which has the same distribution and is a thousand times faster.
    """
    size = len(values_B)
    values_U, counts_U = np.unique(values_B, return_counts=True)
    if len(values_U) <= 50:
        return rng.multinomial(size, counts_U / size, draws) @ values_U / size
    at_once = max(1, CHUNK // size)
    parts = [min(at_once, draws - done) for done in range(0, draws, at_once)]
    return np.concatenate([values_B[rng.integers(size, size=(n, size))].mean(1) for n in parts])


def paired_difference(a_SB: np.ndarray, b_SB: np.ndarray, draws: int = 10_000) -> Interval:
    """Mean of a - b on the same examples, with its paired bootstrap interval.

    Each side is averaged over its seeds, example by example (the numbers of seeds may differ), and
    examples are resampled. The interval reflects the choice of examples for these seeds, not the
    choice of seeds.
    """
    a_SB, b_SB = (np.atleast_2d(np.asarray(x, dtype=np.float64)) for x in (a_SB, b_SB))
    if a_SB.shape[1] != b_SB.shape[1]:
        sizes = f"{a_SB.shape[1]} and {b_SB.shape[1]}"
        raise ValueError(f"a difference must be on the same examples, got {sizes} of them")
    return mean_interval(a_SB.mean(0) - b_SB.mean(0), draws=draws)


def mcnemar(a_B: np.ndarray, b_B: np.ndarray) -> float:
    """Exact two-sided p-value of McNemar's test (1947) that a and b are equally accurate.

    It is a binomial test on the examples where only one of them is right; 1.0 without such
    examples.
    """
    a_B, b_B = np.asarray(a_B, dtype=bool), np.asarray(b_B, dtype=bool)
    if a_B.shape != b_B.shape:
        raise ValueError(f"McNemar's test must be on the same examples, got {a_B.size}, {b_B.size}")
    only_a, only_b = int((a_B & ~b_B).sum()), int((b_B & ~a_B).sum())
    return float(binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0


def wilson(successes: float, n: float) -> Interval:
    """A share with its 95 % score interval (Wilson 1927), which has positive width at 0
    and 1 too.
    """
    if not 0 <= successes <= n or n <= 0:
        raise ValueError(f"successes must be in [0, n] and n above 0, got {successes} of {n}")
    z, share = float(norm.ppf(0.975)), successes / n
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return Interval(share, float(max(0.0, centre - half)), float(min(1.0, centre + half)))


def softmax(logits_BC: np.ndarray) -> np.ndarray:
    """Class probabilities in float64; in float32 many confidences would round to exactly 1."""
    return scipy.special.softmax(np.asarray(logits_BC, dtype=np.float64), axis=1)


def roc_area(positive_P: np.ndarray, other_N: np.ndarray) -> float:
    """Area under the ROC curve, in [0, 1]: the probability that a positive scores higher than
    another example. Ties count half (Hanley and McNeil 1982).
    """
    order_N = np.sort(other_N)
    below_P, upto_P = (np.searchsorted(order_N, positive_P, side) for side in ("left", "right"))
    return float((below_P + upto_P).mean() / (2 * len(order_N)))
