"""The knob of a method: the argument that sweeps, budgets, certificates, rows and plots turn."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Knob:
    """The one continuous operating point of a method, so that nobody outside the method knows the
    words tau or ratio.

    Args:
        name: the argument that it sets.
        strict: the end at which the method saves nothing, a finite number.
        grid: points worth measuring and timing, from strict to lax.
        fine: points to choose from, from strict to lax.
        bounds: the interval of its values, `strict` included, as in "(0, 1]".
        is_confidence: points are compared with the largest class probability, which is never below
            1 / the number of classes.
        is_ratio: a point is the share of its rows that an example loses at a layer.
    """

    name: str
    strict: float
    grid: tuple[float, ...]
    fine: tuple[float, ...]
    bounds: str
    is_confidence: bool = False
    is_ratio: bool = False

    def __post_init__(self) -> None:
        if not math.isfinite(self.strict):
            raise ValueError(f"knob {self.name}: strict must be finite, got {self.strict}")

    def grid_for(self, num_labels: int) -> list[float]:
        """The grid, without the points at which nothing could change any more."""
        if not self.is_confidence or num_labels < 2:
            return list(self.grid)
        return [point for point in self.grid if point >= 1 / num_labels]
