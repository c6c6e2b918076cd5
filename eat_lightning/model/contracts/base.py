"""The hooks that methods of several slots share.

`Method`, the base of all, is in `model/method.py`, and a policy's contract in `model/policy.py`:
both without torch.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, TypeVar

from torch import Tensor

from eat_lightning.model.contracts.knob import Knob
from eat_lightning.model.method import Method
from eat_lightning.model.shape import Shape
from eat_lightning.model.training import Context
from eat_lightning.validation import Within, raise_faults

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
    raise_faults(Within(method.knob.bounds, each=True).lines(method.knob.name, point))
    twin = copy.copy(method)
    setattr(twin, method.knob.name, list(point) if isinstance(point, Sequence) else point)
    return twin
