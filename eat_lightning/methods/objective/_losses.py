"""The terms that objectives share, each summed over the examples of a batch.

Shapes: B examples, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from eat_lightning.model.training import Context, Loss


def exit_losses(context: Context) -> dict[str, Tensor]:
    """The task's loss at each exit, under names for the logs."""
    return {f"exit_{k}": task_loss(g, context.labels_B) for k, g in context.guesses.items()}


def weighted_exits(
    context: Context, weights: Mapping[int, float], distill: float, teacher_temperature: float
) -> Loss:
    """Sum over exits of weight x (task loss + distill x distillation from a teacher), and what
    methods add. distill: 0 where there is no teacher."""
    parts = exit_losses(context)
    total: Any = sum(weights[k] * parts[f"exit_{k}"] for k in context.guesses)
    if distill > 0:
        total = total + distill * from_teacher(context, weights, teacher_temperature, parts)
    return with_penalties(total, parts, context)


def from_teacher(
    context: Context, weights: Mapping[int, float], temperature: float, parts: dict[str, Tensor]
) -> Any:
    """Sum over the exits in `weights` of weight x distillation from the teacher's logits, noted in
    `parts` for each."""
    assert context.teacher_BC is not None
    total = 0.0
    for k, weight in weights.items():
        parts[f"distill_{k}"] = distillation(context.guesses[k], context.teacher_BC, temperature)
        total = total + weight * parts[f"distill_{k}"]
    return total


def with_penalties(total: Any, parts: dict[str, Tensor], context: Context) -> Loss:
    """The loss with what methods add to it."""
    for name, penalty_B in context.penalties.items():
        parts[name] = penalty_B.sum()
        total = total + parts[name]
    return Loss(total, parts)


def task_loss(logits_BC: Float[Tensor, "b c"], labels_B: Tensor) -> Tensor:
    """Cross-entropy, or squared error for one label; summed over examples, in fp32."""
    logits_BC = logits_BC.float()
    if logits_BC.shape[1] == 1:
        return F.mse_loss(logits_BC[:, 0], labels_B.float(), reduction="sum")
    return F.cross_entropy(logits_BC, labels_B, reduction="sum")


def distillation(
    student_BC: Float[Tensor, "b c"], teacher_BC: Float[Tensor, "b c"], temperature: float
) -> Tensor:
    """T^2 x KL(P_teacher^(T) || P_student^(T)) (EAT eq. 2), summed over examples."""
    if student_BC.shape[1] == 1:
        return F.mse_loss(student_BC.float(), teacher_BC.float(), reduction="sum")
    log_p = F.log_softmax(student_BC.float() / temperature, dim=-1)
    log_q = F.log_softmax(teacher_BC.float() / temperature, dim=-1)
    return temperature**2 * F.kl_div(log_p, log_q, reduction="sum", log_target=True)
