"""Where the knob of an exit rule stands: one point for all exits, or one for each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from eat_lightning.bounds import layer_faults, number_faults, one_each
from eat_lightning.model.contracts import Knob


def point_at(point: float | Sequence[float], num_exits: int) -> float:
    """The point at the exit that is the `num_exits`-th of the rule's layers.

    A rule that looks at earlier exits too judges them by this point, not by theirs: then what
    happens at an exit depends on its own point alone, and points can be fitted exit by exit.
    """
    return point[num_exits - 1] if isinstance(point, Sequence) else point


def point_faults(
    knob: Knob, point: Any, layers: Any, num_layers: int | None, at_least: int = 1
) -> list[str]:
    """Points must lie within the knob's bounds, and fit layers that exist."""
    key = f"exit.{knob.name}"
    return [
        *number_faults(key, point, knob.bounds),
        *layer_faults("exit.layers", layers, num_layers, at_least=at_least),
        *one_each(key, point, layers),
    ]
