"""Population stability index (Siddiqi 2006): the shift of a window, and the range expected by
chance (Yurdakul & Naranjo 2020), (1/n + 1/m) times a chi-squared variable with bins - 1 degrees of
freedom.

Shapes: F features, K bins, S places of the grid, B examples.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from eat_lightning.monitor.observation import PLACES

BINS = 10


def psi(expected_FK: np.ndarray, actual_FK: np.ndarray, real_FK: np.ndarray) -> np.ndarray:
    """Population stability index of counts: the sum of (q - p) ln(q / p) over a feature's bins.

    Half an example is added to every bin, so that empty bins give finite values.

    Args:
        real_FK: the bins that a feature has.
    """
    p_FK, q_FK = expected_FK + 0.5 * real_FK, actual_FK + 0.5 * real_FK
    p_FK, q_FK = p_FK / p_FK.sum(-1, keepdims=True), q_FK / q_FK.sum(-1, keepdims=True)
    ratio_FK = np.divide(q_FK, p_FK, out=np.ones(p_FK.shape), where=real_FK)
    return ((q_FK - p_FK) * np.log(ratio_FK)).sum(-1)


def by_chance(
    num_bins_F: np.ndarray, window: int, reference: int, quantile: float = 0.99
) -> np.ndarray:
    """Return for each feature the given quantile of its stability index without a shift."""
    from scipy.stats import chi2

    spread_F = chi2.ppf(quantile, num_bins_F - 1) * (1 / window + 1 / reference)
    return np.where(num_bins_F < 2, 0.0, spread_F)


def edges(place_B: np.ndarray) -> np.ndarray:
    """Return the last place of each bin except the open last one. There are at most ten bins of
    nearly equal counts; if few places differ, each is a bin, followed by one for all larger values.
    """
    known = np.unique(place_B)
    if len(known) <= BINS:
        return known
    return np.unique(np.quantile(place_B, np.arange(1, BINS) / BINS, method="inverted_cdf"))


class StabilityWindow:
    """The last `size` examples against the calibration part, as F x K counts. Features with fewer
    bins leave the last columns empty.
    """

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
        """The larger of `least` and the range expected by chance in a full window."""
        num_bins_F = (self.expected_FK > 0).sum(1)
        return np.maximum(least, by_chance(num_bins_F, self.size, self.reference))
