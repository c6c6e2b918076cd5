"""Sequential change detection by betting.

Each example is ranked among all before it, which gives conformal p-values (Vovk, Gammerman & Shafer
2005; online: Vovk 2021, "Testing randomness online"). A Shiryaev-Roberts e-detector bets on these
(Shin, Ramdas & Rinaldo 2024, arXiv:2203.03532; with conformal p-values: Vovk et al. 2021, "Retrain
or not retrain", arXiv:2102.10439).

Shapes: F features, S places of the grid, B examples, G bets.
"""

from __future__ import annotations

import numpy as np

from eat_lightning.monitor.observation import PLACES

STAKES = np.array([0.2, 0.5, 0.95])
EXPONENTS = np.array([0.5, 0.25])
LEAST = 1e-12  # of a p-value: a power bet is infinite at 0


class CalibrationPool:
    """Number of examples at or below each place of the grid, from the calibration part and the
    stream so far. Its memory does not grow with the stream.
    """

    def __init__(self, place_BF: np.ndarray):
        counts_FS = [np.bincount(place_B, minlength=PLACES) for place_B in place_BF.T]
        # One empty place below all.
        self.at_most_FS = np.pad(np.cumsum(counts_FS, axis=1), ((0, 0), (1, 0)))

    def __len__(self) -> int:
        return int(self.at_most_FS[0, -1])

    def take_in(self, place_F: np.ndarray, chance_F: np.ndarray) -> np.ndarray:
        """Add an example; return its conformal p-values, with ties broken at random.

        A p-value is the share of the pool below the example, plus a random fraction of the share
        equal to it (itself included). While all examples come from one distribution, the p-values
        of a feature are independent and uniform, even with ties and a small pool. A pool that did
        not grow would eventually be detected as a finite sample.
        """
        self.at_most_FS += np.arange(PLACES + 1) > place_F[:, None]
        feature_F = np.arange(len(place_F))
        below_F = self.at_most_FS[feature_F, place_F]
        equal_F = self.at_most_FS[feature_F, place_F + 1] - below_F
        return (below_F + chance_F * equal_F) / len(self)


def bets(p_F: np.ndarray) -> np.ndarray:
    """Payoff of each bet for p-values (F x G).

    The mean of each bet over a uniform p is 1, so nothing is gained on average without a change.
    Cosines gain where p-values shift to one side, to the middle or to the ends, and detect small
    shifts with small stakes. Powers gain where p-values are almost entirely outside the known
    range.
    """
    p_F1 = np.clip(p_F, LEAST, 1 - LEAST)[:, None]
    side_F1, ends_F1 = np.cos(np.pi * p_F1), np.cos(2 * np.pi * p_F1)
    stakes_G = np.concatenate([STAKES, -STAKES])
    powers = [EXPONENTS * q_F1 ** (EXPONENTS - 1) for q_F1 in (p_F1, 1 - p_F1)]
    return np.concatenate([1 + side_F1 * stakes_G, 1 + ends_F1 * stakes_G, *powers], axis=1)


class Detector:
    """Shiryaev-Roberts e-detector. `sums_FG` is the capital of each bet if one unit had been staked
    before every example.

    Without a change, the mean over all bets grows by 1 per example on average. An alarm is raised,
    and the sum reset to 0, when it reaches `run_length`; false alarms then come on average at most
    once in that many examples. Features and bets need not be independent.
    """

    def __init__(self, num_features: int, run_length: float):
        self.run_length = run_length
        self.sums_FG = np.zeros_like(bets(np.full(num_features, 0.5)))

    def add(self, p_F: np.ndarray) -> None:
        self.sums_FG = (self.sums_FG + 1) * bets(p_F)

    @property
    def statistic_F(self) -> np.ndarray:
        """Contribution of each feature to the mean over all bets."""
        return self.sums_FG.sum(1) / self.sums_FG.size

    @property
    def alarms(self) -> bool:
        return float(self.statistic_F.sum()) >= self.run_length
