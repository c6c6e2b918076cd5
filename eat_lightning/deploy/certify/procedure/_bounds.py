"""P-values of "the risk is above the level", and how far a fixed sequence of tests goes.

Shapes: T points from strict to lax, U units (examples, or groups of them); any axes before them.
"""

from __future__ import annotations

import numpy as np

MOST = 0.9  # of the largest bet that cannot make wealth negative


def clopper_pearson(failures: np.ndarray, num_units: int, level: float) -> np.ndarray:
    """The chance of so few failures or fewer, were the risk the level: exact for losses of 0 and 1
    (Clopper and Pearson 1934). At most the level where the exact upper limit is."""
    from scipy.stats import binom

    return binom.cdf(failures, num_units, level)


def allowed(num_units: int, level: float, delta: float) -> int:
    """The most failures with a p-value of at most delta; -1 where none at all is too many."""
    from scipy.stats import binom

    near = int(binom.ppf(delta, num_units, level))  # the first with a chance of delta or more
    return near if clopper_pearson(np.array(near), num_units, level) <= delta else near - 1


def betting(losses_U: np.ndarray, level: float, delta: float, low: float = 0.0) -> np.ndarray:
    """Waudby-Smith and Ramdas (2024): bet that a loss in [low, 1] is below the level; the p-value
    is 1 / the largest wealth (Ville). Bets look only at the units before, so their order must not
    depend on the losses; they grow where losses vary little, as gaps that are mostly 0 do, of which
    Hoeffding's and Bentkus's bounds know nothing.
    """
    x_U = (np.asarray(losses_U, np.float64) - low) / (1 - low)
    bound = (level - low) / (1 - low)
    num = x_U.shape[-1]
    seen_U = np.arange(1, num + 1)
    mean_U = (0.5 + np.cumsum(x_U, -1)) / (seen_U + 1)
    spread_U = (0.25 + np.cumsum((x_U - mean_U) ** 2, -1)) / (seen_U + 1)
    before_U = np.concatenate([np.full((*x_U.shape[:-1], 1), 0.25), spread_U[..., :-1]], -1)
    bet_U = np.minimum(np.sqrt(2 * np.log(1 / delta) / (num * before_U)), MOST / (1 - bound))
    wealth_U = np.cumsum(np.log1p(bet_U * (bound - x_U)), -1)
    return np.exp(-np.maximum(wealth_U.max(-1), 0.0))


def fixed_sequence(p_T: np.ndarray, delta: float) -> np.ndarray:
    """Tell how many points hold: all before the first whose p-value is above delta. That one fails,
    and whatever comes after it was never tested; so no correction for the number of points is
    due."""
    return np.cumprod(np.asarray(p_T) <= delta, axis=-1).sum(-1)
