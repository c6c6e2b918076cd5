"""The population stability index (Siddiqi 2006), which says how far a window has moved, and what it
shows by chance (Yurdakul & Naranjo 2020): (1/n + 1/m) times a chi-squared of bins - 1.

Shapes: F features, K bins, B examples.
"""

from __future__ import annotations

from collections import deque

import numpy as np

BINS = 10


def psi(expected_K: np.ndarray, actual_K: np.ndarray) -> float:
    """Of counts: the sum of (q - p) ln(q / p) over bins. Half an example is added to every bin, so
    that an empty one is no infinity."""
    p_K, q_K = ((n_K + 0.5) / (n_K.sum() + len(n_K) / 2) for n_K in (expected_K, actual_K))
    return float(((q_K - p_K) * np.log(q_K / p_K)).sum())


def by_chance(num_bins: int, window: int, reference: int, quantile: float = 0.99) -> float:
    """What the index stays below with this probability where nothing has moved."""
    from scipy.stats import chi2

    if num_bins < 2:
        return 0.0
    return float(chi2.ppf(quantile, num_bins - 1) * (1 / window + 1 / reference))


def edges(place_B: np.ndarray) -> np.ndarray:
    """The last place of each bin but the open last one: at most ten bins of near equal numbers.
    Few different places are a bin each, and one more holds whatever lies above them."""
    known = np.unique(place_B)
    if len(known) <= BINS:
        return known
    return np.unique(np.quantile(place_B, np.arange(1, BINS) / BINS, method="inverted_cdf"))


class Window:
    """The last `size` examples against the calibration part."""

    def __init__(self, place_BF: np.ndarray, size: int):
        self.size, self.reference = size, len(place_BF)
        self.edges = [edges(place_B) for place_B in place_BF.T]
        self.expected = [
            np.bincount(np.searchsorted(cuts, place_B), minlength=len(cuts) + 1)
            for cuts, place_B in zip(self.edges, place_BF.T, strict=True)
        ]
        self.clear()

    def clear(self) -> None:
        self.bins: deque[list[int]] = deque()
        self.actual = [np.zeros_like(counts_K) for counts_K in self.expected]

    def add(self, place_F: np.ndarray) -> None:
        bin_F = [int(np.searchsorted(c, p)) for c, p in zip(self.edges, place_F, strict=True)]
        self.bins.append(bin_F)
        for counts_K, k in zip(self.actual, bin_F, strict=True):
            counts_K[k] += 1
        if len(self.bins) > self.size:
            for counts_K, k in zip(self.actual, self.bins.popleft(), strict=True):
                counts_K[k] -= 1

    @property
    def full(self) -> bool:
        return len(self.bins) == self.size

    @property
    def psi_F(self) -> list[float]:
        return [psi(p_K, q_K) for p_K, q_K in zip(self.expected, self.actual, strict=True)]

    def bound_F(self, least: float) -> list[float]:
        """`least`, or what a full window shows by chance where that is more."""
        sizes = [int((counts_K > 0).sum()) for counts_K in self.expected]
        return [max(least, by_chance(k, self.size, self.reference)) for k in sizes]
