"""The population stability index (Siddiqi 2006), which says how far a window has moved, and what it
shows by chance (Yurdakul & Naranjo 2020): (1/n + 1/m) times a chi-squared of bins - 1.

Shapes: F features, K bins, S places of the grid, B examples.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from eat_lightning.monitor.observation import PLACES

BINS = 10


def psi(expected_FK: np.ndarray, actual_FK: np.ndarray, real_FK: np.ndarray) -> np.ndarray:
    """Population stability index of counts: the sum of (q - p) ln(q / p) over a feature's bins.
    Half an example is added to every bin, so that an empty one is no infinity. real: which bins a
    feature has."""
    p_FK, q_FK = expected_FK + 0.5 * real_FK, actual_FK + 0.5 * real_FK
    p_FK, q_FK = p_FK / p_FK.sum(-1, keepdims=True), q_FK / q_FK.sum(-1, keepdims=True)
    ratio_FK = np.divide(q_FK, p_FK, out=np.ones(p_FK.shape), where=real_FK)
    return ((q_FK - p_FK) * np.log(ratio_FK)).sum(-1)


def by_chance(
    num_bins_F: np.ndarray, window: int, reference: int, quantile: float = 0.99
) -> np.ndarray:
    """Return a bound for each feature that its stability index stays below, with this probability,
    where nothing has moved."""
    from scipy.stats import chi2

    spread_F = chi2.ppf(quantile, num_bins_F - 1) * (1 / window + 1 / reference)
    return np.where(num_bins_F < 2, 0.0, spread_F)


def edges(place_B: np.ndarray) -> np.ndarray:
    """The last place of each bin but the open last one: at most ten bins of near equal numbers.
    Few different places are a bin each, and one more holds whatever lies above them."""
    known = np.unique(place_B)
    if len(known) <= BINS:
        return known
    return np.unique(np.quantile(place_B, np.arange(1, BINS) / BINS, method="inverted_cdf"))


class StabilityWindow:
    """The last `size` examples against the calibration part; F x K counts, where a feature with
    fewer bins leaves the last columns empty."""

    def __init__(self, place_BF: np.ndarray, size: int):
        self.size, self.reference = size, len(place_BF)
        self.feature_F = np.arange(place_BF.shape[1])
        cuts = [edges(place_B) for place_B in place_BF.T]
        self.bin_FS = np.stack([np.searchsorted(cut, np.arange(PLACES)) for cut in cuts])
        self.num_bins_F = np.array([len(cut) + 1 for cut in cuts])
        self.real_FK = np.arange(self.num_bins_F.max()) < self.num_bins_F[:, None]
        self.expected_FK = np.zeros(self.real_FK.shape, np.int64)
        np.add.at(self.expected_FK, (self.feature_F, self.bin_FS[self.feature_F, place_BF]), 1)
        self.clear()

    def clear(self) -> None:
        self.bins: deque[np.ndarray] = deque()
        self.actual_FK = np.zeros_like(self.expected_FK)

    def add(self, place_F: np.ndarray) -> None:
        self.add_bins(self.bin_FS[self.feature_F, place_F])

    def add_bins(self, bin_F: np.ndarray) -> None:
        self.bins.append(bin_F)
        self.actual_FK[self.feature_F, bin_F] += 1
        if len(self.bins) > self.size:
            self.actual_FK[self.feature_F, self.bins.popleft()] -= 1

    @property
    def full(self) -> bool:
        return len(self.bins) == self.size

    @property
    def psi_F(self) -> np.ndarray:
        return psi(self.expected_FK, self.actual_FK, self.real_FK)

    def bound_F(self, least: float) -> np.ndarray:
        """`least`, or what a full window shows by chance where that is more."""
        num_bins_F = (self.expected_FK > 0).sum(1)
        return np.maximum(least, by_chance(num_bins_F, self.size, self.reference))
