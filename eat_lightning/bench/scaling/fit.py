"""Exponents: the slope of log y against log x by least squares (y = a x^b has slope b)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

LEVEL = 0.95


@dataclass(frozen=True)
class Exponent:
    """low and high: the 95 % interval of a slope with normal errors (Student's t on the points less
    two). With two points the line goes through both, and there is none: NaN."""

    value: float
    low: float
    high: float
    factor: float  # y where x is 1

    def at(self, x: float) -> float:
        return self.factor * x**self.value

    def __str__(self) -> str:
        if np.isnan(self.low):
            return f"{self.value:.2f}"
        return f"{self.value:.2f} ({self.low:.2f} to {self.high:.2f})"


def exponent(x: Sequence[float], y: Sequence[float]) -> Exponent:
    """ValueError for fewer than two different x."""
    from scipy.stats import linregress, t

    if len(set(x)) < 2:
        raise ValueError(f"an exponent needs two different values, got {sorted(set(x))}")
    found: Any = linregress(np.log(x), np.log(y))
    free = len(x) - 2
    reach = float(t.ppf((1 + LEVEL) / 2, free)) * found.stderr if free else float("nan")
    return Exponent(
        float(found.slope),
        float(found.slope - reach),
        float(found.slope + reach),
        float(np.exp(found.intercept)),
    )
