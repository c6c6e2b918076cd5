"""Where the knob of an exit rule stands: one point for all exits, or one for each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated

from eat_lightning.validation import InLayers

ExitLayers = Annotated[Sequence[int], InLayers(at_least=1, lowest=0)]  # 0: the embedding


def least_at(point: float | Sequence[float], num_exits: int) -> float:
    """Return the least probability for leaving at the `num_exits`-th exit: `point_at`, or infinity
    where that is 1. A saturated probability is 1 too, so a point of 1 would let it leave."""
    least = point_at(point, num_exits)
    return math.inf if least == 1 else least


def point_at(point: float | Sequence[float], num_exits: int) -> float:
    """The point at the exit that is the `num_exits`-th of the rule's layers.

    A rule that looks at earlier exits too judges them by this point, not by theirs: then what
    happens at an exit depends on its own point alone, and points can be fitted exit by exit.
    """
    return point[num_exits - 1] if isinstance(point, Sequence) else point


def patience_faults(patience: int, layers: Sequence[int]) -> list[str]:
    """Give the error of a patience that so many exits cannot have."""
    most = len(layers) - 1
    if patience <= most:
        return []
    return [f"exit.patience must be at most {most} with {most + 1} exits, got {patience}"]
