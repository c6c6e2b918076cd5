"""The hooks that methods of several slots share.

`Method`, the base of all, is in `model/method.py`, and a policy's contract in `model/policy.py`:
both without torch.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from torch import Tensor

from eat_lightning.model.method import Method
from eat_lightning.model.shape import Shape
from eat_lightning.model.training import Context
from eat_lightning.validation import is_list, raise_faults, value_faults

P = TypeVar("P", bound="EncoderPart")


class Learner(Method):
    """A method that may have parameters; one that has them is an `nn.Module` too."""

    def groups(self, lr: float) -> list[dict[str, Any]]:
        """Give optimizer groups for parameters with a rate, a decay or a sign of their own, as
        torch's optimizers take them.

        A group may name a `travel` in place of `lr`: how far a parameter can move in the soft
        stages of a run.

        Args:
            lr: the learning rate of the run.
        """
        return []

    def after_step(self) -> None:
        """Put parameters back within their bounds, after each step of the optimizer."""


@dataclass(frozen=True)
class Knob:
    """The one continuous operating point of a method: the argument that sweeps, budgets,
    certificates, rows and plots turn, so that nobody outside the method knows its name.

    Args:
        name: the argument that it sets.
        strict: the end at which the method saves nothing, a finite number.
        grid: points worth measuring and timing, from strict to lax.
        fine: points to choose from, from strict to lax.
        bounds: the type of its values, `strict` included: Annotated[float, Field(gt=0, le=1)].
        is_confidence: points are compared with the largest class probability, which is never below
            1 / the number of classes.
        is_ratio: a point is the share of its rows that an example loses at a layer.
    """

    name: str
    strict: float
    grid: tuple[float, ...]
    fine: tuple[float, ...]
    bounds: Any
    is_confidence: bool = False
    is_ratio: bool = False

    def __post_init__(self) -> None:
        if not math.isfinite(self.strict):
            raise ValueError(f"knob {self.name}: strict must be finite, got {self.strict}")

    def faults(self, key: str, point: Any) -> list[str]:
        """Give a line for each fault of a point, or of a list of points."""
        points = point if is_list(point) else [point]
        return [fault for one in points for fault in value_faults(self.bounds, key, one)]

    def grid_for(self, num_labels: int) -> list[float]:
        """The grid, without the points at which nothing could change any more."""
        if not self.is_confidence or num_labels < 2:
            return list(self.grid)
        return [point for point in self.grid if point >= 1 / num_labels]


class EncoderPart(Learner):
    """A method that stands in an encoder: attention, reduction, exit rule or head."""

    knob: Knob | None = None  # the argument that is the one continuous operating point

    def bind(self, shape: Shape, exits: Sequence[int], num_labels: int) -> None:
        """Make the parameters. A class that overrides this learns, and is used in no encoder that
        was trained without it. It is called on torch's meta device too, and a buffer that is not
        persistent is empty where transformers opens the model.

        Args:
            shape: the encoder's `Shape`, its sizes.
            exits: layers (1-based) with heads, the last included.
            num_labels: classes, or 1 for a regression.
        """

    def penalties(self, context: Context) -> dict[str, Tensor]:
        """Give terms of the loss by name, each with a value for every example (B)."""
        return {}


def point_of(method: EncoderPart) -> float | list[float] | None:
    """Tell where the knob of a method stands: one value, or one for each of its layers."""
    return None if method.knob is None else vars(method)[method.knob.name]


def points_by_layer(method: EncoderPart) -> dict[int, float]:
    """Tell where the knob of a method stands at each of its layers; empty where it has none."""
    point = point_of(method)
    if point is None:
        return {}
    layers = vars(method)["layers"]
    points = point if isinstance(point, Sequence) else [point] * len(layers)
    return dict(zip(layers, points, strict=True))


def at_point(method: P, point: float | Sequence[float]) -> P:
    """The same method (its parameters shared) with its knob at another point."""
    if method.knob is None:
        raise ValueError(f"{type(method).__name__} has no knob to turn")
    raise_faults(method.knob.faults(method.knob.name, point))
    twin = copy.copy(method)
    setattr(twin, method.knob.name, list(point) if isinstance(point, Sequence) else point)
    return twin
