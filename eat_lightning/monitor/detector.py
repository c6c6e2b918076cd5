"""How much could have been won by betting that a change has come.

Each example is ranked among all that came before it, which gives conformal p-values (Vovk,
Gammerman & Shafer 2005; on line: Vovk 2021, "Testing randomness online"); on these bets a
Shiryaev-Roberts e-detector (Shin, Ramdas & Rinaldo 2024, arXiv:2203.03532; on conformal p-values:
Vovk et al. 2021, "Retrain or not retrain", arXiv:2102.10439).

Shapes: F features, S places of the grid, B examples, G bets.
"""

from __future__ import annotations

import numpy as np

from eat_lightning.monitor.observation import PLACES

STAKES = np.array([0.2, 0.5, 0.95])
EXPONENTS = np.array([0.5, 0.25])
LEAST = 1e-12  # of a p-value: a power bet is infinite at 0


class CalibrationPool:
    """Tell how many of the calibration part, and of the stream that was taken in since, lie at or
    below each place. As large after a million examples as after one."""

    def __init__(self, place_BF: np.ndarray):
        counts_FS = [np.bincount(place_B, minlength=PLACES) for place_B in place_BF.T]
        # One empty place below all.
        self.at_most_FS = np.pad(np.cumsum(counts_FS, axis=1), ((0, 0), (1, 0)))

    def __len__(self) -> int:
        return int(self.at_most_FS[0, -1])

    def take_in(self, place_F: np.ndarray, chance_F: np.ndarray) -> np.ndarray:
        """Add an example; its p-values: the share of the pool below it, and of its equals (itself
        among them) a random part. While all are drawn from one distribution, whatever it is, the
        p-values of a feature are independent and uniform, with ties and a small pool too: a pool
        that did not grow would in time be found to be a finite sample."""
        self.at_most_FS += np.arange(PLACES + 1) > place_F[:, None]
        feature_F = np.arange(len(place_F))
        below_F = self.at_most_FS[feature_F, place_F]
        equal_F = self.at_most_FS[feature_F, place_F + 1] - below_F
        return (below_F + chance_F * equal_F) / len(self)


def bets(p_F: np.ndarray) -> np.ndarray:
    """Each bet's pay-off for p, F x G. Every bet's mean over a uniform p is 1, so nothing is won on
    average while nothing changes. Cosines win where p-values move to one side, or to the middle or
    the ends, by small stakes for small moves; powers where they all but leave what was known."""
    p_F1 = np.clip(p_F, LEAST, 1 - LEAST)[:, None]
    side_F1, ends_F1 = np.cos(np.pi * p_F1), np.cos(2 * np.pi * p_F1)
    stakes_G = np.concatenate([STAKES, -STAKES])
    powers = [EXPONENTS * q_F1 ** (EXPONENTS - 1) for q_F1 in (p_F1, 1 - p_F1)]
    return np.concatenate([1 + side_F1 * stakes_G, 1 + ends_F1 * stakes_G, *powers], axis=1)


class Detector:
    """`sums_FG` is what each bet would hold, had one unit been staked on it before every example.

    With every example the mean over all bets grows by 1 on average while nothing changes; so an
    alarm whenever it reaches `run_length`, after which it begins at 0, comes on average at most
    once in so many examples. This needs no independence between features or bets.
    """

    def __init__(self, num_features: int, run_length: float):
        self.run_length = run_length
        self.sums_FG = np.zeros_like(bets(np.full(num_features, 0.5)))

    def add(self, p_F: np.ndarray) -> None:
        self.sums_FG = (self.sums_FG + 1) * bets(p_F)

    @property
    def statistic_F(self) -> np.ndarray:
        """Each feature's part of the mean over all bets."""
        return self.sums_FG.sum(1) / self.sums_FG.size

    @property
    def alarms(self) -> bool:
        return float(self.statistic_F.sum()) >= self.run_length
