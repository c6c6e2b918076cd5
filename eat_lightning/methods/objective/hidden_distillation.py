"""TinyBERT's task distillation (Jiao et al. 2020, section 3.1): a student imitates a teacher's
vectors layer by layer, and its answers.

Student layer m learns from teacher layer g(m) = m x (teacher's layers / student's), the embedding
(0) from the embedding: sum_m MSE(H_m W, H'_g(m)), with one projection W for all layers (equations
8 and 9), beside the divergence from the teacher's logits at every exit (equation 10, T = 1). The
paper trains the two one after the other; here they are one loss, as in DynaBERT (Hou et al. 2020).
Attention maps (equation 7) are left out. Rows that the student dropped are compared no more: each
of its vectors is held against the teacher's at the same position.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from eat_lightning.bounds import raise_faults, whole_faults
from eat_lightning.methods.objective._losses import (
    exit_losses,
    from_teacher,
    with_penalties,
)
from eat_lightning.model.method import Argument, NotNegative, Positive, method
from eat_lightning.model.packed import Packed
from eat_lightning.model.training import Context, Loss


def map_faults(given: Argument) -> list[str]:
    key, layers = given.key, given.value
    if not isinstance(layers, Mapping) or not all(str(k).isdecimal() for k in layers):
        return [f"{key} must map layers to layers, got {layers!r}"]
    faults = []
    for k, v in layers.items():
        faults += whole_faults(f"{key}.{k}", v, 0)
        if given.num_layers is not None and int(k) > given.num_layers:
            faults.append(f"{key} must name layers in 0..{given.num_layers}, got {k}")
    return faults


@method("objective")
class HiddenDistillation(nn.Module):
    """hidden: weight of the vectors' squared error (mean over an example's tokens and the width,
    summed over layers). distill, teacher_temperature: of the teacher's logits, at every exit.
    label_weight: of the exits' own loss (0 in the paper). layer_map: {student layer: teacher
    layer}; None is the even one."""

    hidden: Positive = 1.0
    distill: NotNegative = 1.0
    teacher_temperature: Positive = 1.0
    label_weight: NotNegative = 0.0
    layer_map: Annotated[Mapping[int, int] | None, map_faults] = None

    wants = frozenset({"hidden", "teacher_hidden"})

    def __post_init__(self) -> None:
        # A config.json has its keys as text.
        self.layer_map = self.layer_map and {int(k): v for k, v in self.layer_map.items()}
        self.pairs: dict[int, int] = {}

    @property
    def wants_teacher(self) -> bool:
        return self.distill > 0

    def bind(self, student: Any, teacher: Any) -> None:
        """Make the projection between both widths; ValueError where the teacher lacks a layer."""
        ratio = teacher.num_layers / student.num_layers
        even = {m: round(m * ratio) for m in range(student.num_layers + 1)}
        self.pairs = even if self.layer_map is None else dict(self.layer_map)
        last = teacher.num_layers
        raise_faults(
            f"objective.layer_map must name the teacher's layers in 0..{last}, got {v}"
            for v in self.pairs.values()
            if v > last
        )
        self.projection = nn.Linear(student.hidden_size, teacher.hidden_size)

    def __call__(self, context: Context) -> Loss:
        loss = self.of_exits(context)
        apart = [
            squared_error(context.hidden[m], context.teacher_hidden[g], self.projection)
            for m, g in self.pairs.items()
        ]
        loss.parts["hidden"] = torch.stack(apart).sum()
        return Loss(loss.total + self.hidden * loss.parts["hidden"], loss.parts)

    def of_exits(self, context: Context) -> Loss:
        parts = exit_losses(context)
        total = self.label_weight * torch.stack([*parts.values()]).sum()
        if self.wants_teacher:
            weights = dict.fromkeys(context.guesses, 1.0)
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
