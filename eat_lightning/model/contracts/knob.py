"""The knob of a method: the argument that sweeps, budgets, certificates, rows and plots turn."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from eat_lightning.bounds import number_faults, raise_faults

if TYPE_CHECKING:
    from eat_lightning.model.contracts.base import EncoderPart


@dataclass(frozen=True)
class Knob:
    """The one continuous operating point of a method, so that nobody outside the method knows the
    words tau or ratio.

    Args:
        name: the argument that it sets.
        strict: the end at which the method saves nothing.
        grid: points worth measuring and timing, from strict to lax.
        fine: points to choose from, from strict to lax.
        bounds: the interval of its values, as in "(0, 1]".
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

    def grid_for(self, num_labels: int) -> list[float]:
        """The grid, without the points at which nothing could change any more."""
        if not self.is_confidence or num_labels < 2:
            return list(self.grid)
        return [point for point in self.grid if point >= 1 / num_labels]


def point_of(method: EncoderPart) -> float | list[float] | None:
    """Where the knob of a method stands: one value, or one for each of its layers."""
    return None if method.knob is None else vars(method)[method.knob.name]


def points_by_layer(method: Any) -> dict[int, float]:
    """Where the knob of a method stands at each of its layers; empty where it has none."""
    point = point_of(method)
    if point is None:
        return {}
    points = point if isinstance(point, Sequence) else [point] * len(method.layers)
    return dict(zip(method.layers, points, strict=True))


def turned(method: Any, point: float | Sequence[float]) -> Any:
    """The same method (its parameters shared) with its knob at another point."""
    if method.knob is None:
        raise ValueError(f"{type(method).__name__} has no knob to turn")
    raise_faults(number_faults(method.knob.name, point, method.knob.bounds))
    twin = copy.copy(method)
    setattr(twin, method.knob.name, list(point) if isinstance(point, Sequence) else point)
    return twin
