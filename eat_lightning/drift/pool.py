"""Conformal p-values (Vovk, Gammerman & Shafer 2005; on line in Vovk 2021, "Testing randomness
online"): an example's rank among all that came before it.

Shapes: F features, S places of the grid, B examples.
"""

from __future__ import annotations

import numpy as np

from eat_lightning.drift.observation import FEATURES, PLACES


class Pool:
    """How many of the calibration part, and of the stream that was taken in since, lie at or below
    each place. As large after a million examples as after one."""

    def __init__(self, place_BF: np.ndarray):
        self.feature_F = np.arange(len(FEATURES))
        counts_FS = np.zeros((len(FEATURES), PLACES + 1), np.int64)  # one empty place below all
        for feature, place_B in enumerate(place_BF.T):
            counts_FS[feature, 1:] = np.bincount(place_B, minlength=PLACES)
        self.at_most_FS = counts_FS.cumsum(1)

    def __len__(self) -> int:
        return int(self.at_most_FS[0, -1])

    def take_in(self, place_F: np.ndarray, chance_F: np.ndarray) -> np.ndarray:
        """Add an example; its p-values: the share of the pool below it, and of its equals (itself
        among them) a random part. While all are drawn from one distribution, whatever it is, the
        p-values of a feature are independent and uniform, with ties and a small pool too: a pool
        that did not grow would in time be found to be a finite sample."""
        for feature, place in enumerate(place_F):
            self.at_most_FS[feature, place + 1 :] += 1
        below_F = self.at_most_FS[self.feature_F, place_F]
        equal_F = self.at_most_FS[self.feature_F, place_F + 1] - below_F
        return (below_F + chance_F * equal_F) / len(self)
