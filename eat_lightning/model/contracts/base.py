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
    """A method that may have parameters. If it has, it is also an `nn.Module`."""

    def groups(self, lr: float) -> list[dict[str, Any]]:
        """Return optimizer groups for parameters with their own learning rate, weight decay or
        sign, in the format of torch's optimizers.

        A group may have a `travel` instead of `lr`: how far a parameter can move in the soft stages
        of a run.

        Args:
            lr: the learning rate of the run.
        """
        return []

    def after_step(self) -> None:
        """Clamp parameters to their bounds after each step of the optimizer."""


@dataclass(frozen=True)
class Knob:
    """A method's one continuous parameter, such as a threshold or a ratio. Sweeps, budgets,
    certificates, rows and plots use it without knowing the method.

    Args:
        name: the argument that it sets.
        strict: the value at which the method saves nothing, a finite number.
        grid: values to measure, from strict to lax.
        fine: values to choose from, from strict to lax.
        bounds: the type of its values, `strict` included: Annotated[float, Field(gt=0, le=1)].
        is_confidence: whether values are compared with the largest class probability, which is at
            least 1 / number of classes.
        is_ratio: whether a value is the share of rows that an example loses at a layer.
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
            raise ValueError(
                f"knob {self.name}: strict must be finite, got {self.strict}: take a value beyond "
                "which nothing changes any more"
            )
        for key, values in (("grid", self.grid), ("fine", self.fine)):
            laxness = [abs(value - self.strict) for value in values]
            if laxness != sorted(laxness):
                raise ValueError(
                    f"knob {self.name}: {key} must run from strict ({self.strict:g}) to lax, got "
                    f"{values[0]:g} first and {values[-1]:g} last"
                )

    def faults(self, key: str, point: Any) -> list[str]:
        """Return a line for each error in a value, or in a list of values."""
        points = point if is_list(point) else [point]
        return [fault for one in points for fault in value_faults(self.bounds, key, one)]

    def grid_for(self, num_labels: int) -> list[float]:
        """Return the grid without values that a confidence of 1 / number of classes always
        meets."""
        if not self.is_confidence or num_labels < 2:
            return list(self.grid)
        return [point for point in self.grid if point >= 1 / num_labels]


class EncoderPart(Learner):
    """A method that is part of an encoder: attention, reduction, exit rule or head."""

    knob: Knob | None = None  # the argument that is the one continuous operating point

    def bind(self, shape: Shape, exits: Sequence[int], num_labels: int) -> None:
        """Create the parameters. A class that overrides this is trained, and cannot be used in an
        encoder that was trained without it. It is also called on torch's meta device, and buffers
        that are not persistent are empty when transformers opens the model.

        Args:
            shape: the encoder's `Shape`, its sizes.
            exits: layers (1-based) with heads, the last included.
            num_labels: classes, or 1 for a regression.
        """

    def penalties(self, context: Context) -> dict[str, Tensor]:
        """Return further terms of the loss by name, each with one value per example (B)."""
        return {}


def point_of(method: EncoderPart) -> float | list[float] | None:
    """Return the value of a method's knob, or a list with one for each of its layers; None if it
    has no knob."""
    return None if method.knob is None else vars(method)[method.knob.name]


def points_by_layer(method: EncoderPart) -> dict[int, float]:
    """Return the value of a method's knob at each of its layers; empty if it has no knob."""
    point = point_of(method)
    if point is None:
        return {}
    layers = vars(method)["layers"]
    points = point if isinstance(point, Sequence) else [point] * len(layers)
    return dict(zip(layers, points, strict=True))


def at_point(method: P, point: float | Sequence[float]) -> P:
    """Return a twin of a method, with shared parameters, whose knob has another value."""
    if method.knob is None:
        raise ValueError(f"{type(method).__name__} has no knob to turn")
    raise_faults(method.knob.faults(method.knob.name, point))
    twin = copy.copy(method)
    setattr(twin, method.knob.name, list(point) if isinstance(point, Sequence) else point)
    return twin
