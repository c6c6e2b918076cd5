"""The terms that objectives share, each summed over the examples of a batch.

Shapes: B examples, C classes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from eat_lightning.model.contracts import Objective
from eat_lightning.model.method import method
from eat_lightning.model.packed import Packed
from eat_lightning.model.training import Context, Loss
from eat_lightning.validation import NotNegative, Positive


def key_faults(name: str, by_layer: Mapping[Any, Any] | None, num_layers: int | None) -> list[str]:
    """Give a line for each key of an argument by layer that is no layer's number, which a
    config.json has as text."""
    bound = "must name layers" + ("" if num_layers is None else f" in 0..{num_layers}")
    wrong = (
        key
        for key in by_layer or ()
        if not str(key).isdecimal() or (num_layers is not None and int(key) > num_layers)
    )
    return [f"{name} {bound}, got {key}" for key in wrong]


def exit_losses(context: Context) -> dict[str, Tensor]:
    """The task's loss at each exit, under names for the logs."""
    kind, labels_B = context.kind, context.labels_B
    full_BC = None if context.full_BC is None else context.full_BC.detach()
    return {f"exit_{k}": kind.loss(g, labels_B, full_BC) for k, g in context.guesses.items()}


def from_teacher(
    context: Context, weights: Mapping[int, float], temperature: float, parts: dict[str, Tensor]
) -> Any:
    """Sum over the exits in `weights` of weight x distillation from the teacher's logits, noted in
    `parts` for each."""
    assert context.teacher_BC is not None
    total = 0.0
    for k, weight in weights.items():
        guess_BC = context.guesses[k]
        parts[f"distill_{k}"] = context.kind.divergence(guess_BC, context.teacher_BC, temperature)
        total = total + weight * parts[f"distill_{k}"]
    return total


def labels_and_teacher(
    context: Context, label_weight: float, distill: float, temperature: float
) -> Loss:
    """The exits' own losses and, where `distill` is above 0, a teacher's logits at each of them,
    with what methods add."""
    parts = exit_losses(context)
    total = label_weight * torch.stack([*parts.values()]).sum()
    if distill > 0:
        taught = from_teacher(context, dict.fromkeys(context.guesses, 1.0), temperature, parts)
        total = total + distill * taught
    return with_penalties(total, parts, context)


def with_penalties(total: Any, parts: dict[str, Tensor], context: Context) -> Loss:
    """The loss with what methods add to it."""
    for name, penalty_B in context.penalties.items():
        parts[name] = penalty_B.sum()
        total = total + parts[name]
    return Loss(total, parts)


@method("objective")
class EveryExit(Objective):
    """The sum of every exit's loss, each with its weight. distill: of the divergence from a
    teacher's logits, at every exit with the same weights (0 = no teacher)."""

    distill: NotNegative = 0.0
    teacher_temperature: Positive = 2.0

    def _weights(self, layers: Collection[int]) -> dict[int, float]:
        """Tell how much the exit at each of these layers counts."""
        return dict.fromkeys(layers, 1.0)

    def __call__(self, context: Context) -> Loss:
        weights = self._weights(context.guesses)
        parts = exit_losses(context)
        total: Any = sum(weights[k] * parts[f"exit_{k}"] for k in context.guesses)
        if self.wants_teacher:
            taught = from_teacher(context, weights, self.teacher_temperature, parts)
            total = total + self.distill * taught
        return with_penalties(total, parts, context)


def squared_error(student: Packed, teacher: Packed, projection: nn.Module) -> Tensor:
    """Mean over an example's tokens and the width, summed over examples; a student's vector is held
    against the teacher's of its position."""
    layout = student.layout
    rows_N = teacher.layout.offsets_B[layout.segment_N] + student.position_N
    apart_ND = projection(student.x_ND).float() - teacher.x_ND[rows_N].float()
    per_token_N = apart_ND.square().mean(1)
    share_N = 1 / layout.there(layout.lengths_B)[layout.segment_N]
    return (per_token_N * share_N).sum()
