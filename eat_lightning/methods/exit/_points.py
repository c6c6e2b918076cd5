"""Where the knob of an exit rule stands: one point for all exits, or one for each; and rules that
compare one number with it."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import Annotated

import torch
from jaxtyping import Float
from torch import Tensor

from eat_lightning.model.contracts import ExitRule, Knob, overrides
from eat_lightning.model.contracts.exit import Decision, Guesses, Signals
from eat_lightning.validation import in_layers

ExitLayers = Annotated[Sequence[int], in_layers(at_least=1, lowest=0)]  # 0: the embedding


class ByPoint(ExitRule):
    """Leaves by one number of each example: where it is below the knob's point at this exit or, of
    a knob whose strict end is its largest point, where it reaches that."""

    knob: Knob

    @abstractmethod
    def _value(self, logits_EBC: Guesses, signals_EBS: Signals) -> Tensor:
        """Give the number of each example, at the last exit so far. With `last_only` it reads
        nothing else: neither earlier exits nor how many there were."""

    @property
    def _from_below(self) -> bool:
        return self.knob.strict < self.knob.fine[-1]

    def _point(self, num_exits: int) -> float:
        """The point at the `num_exits`-th exit. That of the strict end is infinite: a saturated
        probability is 1, and would reach it."""
        point: float = point_at(vars(self)[self.knob.name], num_exits)
        if point != self.knob.strict:
            return point
        return -math.inf if self._from_below else math.inf

    def decides(self, logits_EBC: Guesses, signals_EBS: Signals = None) -> Decision:
        value_B = self._value(logits_EBC, signals_EBS)
        dtype = torch.promote_types(value_B.dtype, torch.float32)  # a number of votes is whole
        return self._reached(value_B, torch.tensor(self._point(len(logits_EBC)), dtype=dtype))

    def _reached(self, value_B: Tensor, point: Tensor) -> Decision:
        return (value_B < point if self._from_below else value_B >= point).long()

    def margin(self, logits_EBC: Guesses) -> Float[Tensor, " b"]:
        """Tell how far the number is from where the decision would be another."""
        if overrides(self, ExitRule.observe):
            return super().margin(logits_EBC)
        return (self._value(logits_EBC, None) - self._point(len(logits_EBC))).abs()


def point_tensor(rule: ByPoint, num_exits: int) -> Tensor:
    """The point of a rule at its `num_exits`-th exit as an exported graph keeps it, among its
    weights: so graphs of the same exits are the same at all points."""
    return torch.tensor(rule._point(num_exits), dtype=torch.float32)


def decided_at(rule: ByPoint, point: Tensor, logits_EBC: Guesses) -> Decision:
    """Decide as the rule does where `point` is that of `point_tensor`."""
    return rule._reached(rule._value(logits_EBC, None), point)


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
