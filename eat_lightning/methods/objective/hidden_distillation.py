"""TinyBERT's task distillation (Jiao et al. 2020): a student imitates the vectors and attention
maps of a teacher layer by layer, as well as its answers.

Student layer m learns from teacher layer g(m) = m x (teacher's layers / student's), the embedding
(0) from the embedding: sum_m MSE(H_m W, H'_g(m)), with one projection W for all layers, in addition
to the divergence from the teacher's logits at every exit (T = 1). With `attention`, the scores
before the softmax, q k / sqrt(K), are learned too: sum_m MSE(A_m, A'_g(m)), averaged over heads and
pairs of tokens (equation 7). The paper first trains on vectors and maps and then on answers; here
they form one loss, as in DynaBERT (Hou et al. 2020). Rows that the student dropped are not
compared: each of its vectors, and each pair of them, is compared with the teacher's at the same
positions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from pydantic import NonNegativeInt
from torch import Tensor, nn

from eat_lightning.methods.objective._losses import key_faults, labels_and_teacher, squared_error
from eat_lightning.model.contracts import Attention, Objective
from eat_lightning.model.inside import Scores
from eat_lightning.model.method import method
from eat_lightning.model.shape import Shape
from eat_lightning.model.specification import kind_of
from eat_lightning.model.training import Context, Loss
from eat_lightning.validation import NotNegative, Positive, raise_faults


@method("objective")
class HiddenDistillation(Objective, nn.Module):
    """Loss of every exit, plus the distance to a teacher's vectors layer by layer.

    Args:
        hidden: weight of the vectors' squared error (mean over an example's tokens and the width,
            summed over layers).
        attention: weight of the attention scores' squared error (1 in the paper; 0: off), between
            dense attentions alone.
        distill: weight of the divergence from the teacher's logits, at every exit.
        teacher_temperature: temperature of those logits.
        label_weight: weight of the exits' own loss (0 in the paper).
        layer_map: {student layer: teacher layer}; None: evenly spread.
    """

    hidden: Positive = 1.0
    attention: NotNegative = 0.0
    distill: NotNegative = 1.0
    teacher_temperature: Positive = 1.0
    label_weight: NotNegative = 0.0
    layer_map: Mapping[Any, NonNegativeInt] | None = None

    def rules(self, num_layers: int | None) -> list[str]:
        return key_faults("objective.layer_map", self.layer_map, num_layers)

    @property
    def wants(self) -> frozenset[str]:
        return frozenset({"hidden", "teacher_hidden"} | ({"scores"} if self.attention else set()))

    def __post_init__(self) -> None:
        # A config.json has its keys as text.
        self.layer_map = self.layer_map and {int(k): v for k, v in self.layer_map.items()}
        self.pairs: dict[int, int] = {}

    def bind(self, student: Shape, teacher: Shape | None) -> None:
        """Make the projection between both widths; ValueError where the teacher lacks a layer."""
        assert teacher is not None  # `wants` names its hidden states
        ratio = teacher.num_layers / student.num_layers
        even = {m: round(m * ratio) for m in range(student.num_layers + 1)}
        self.pairs = even if self.layer_map is None else dict(self.layer_map)
        last = teacher.num_layers
        raise_faults(
            f"objective.layer_map must name the teacher's layers in 0..{last}, got {v}"
            for v in self.pairs.values()
            if v > last
        )
        if self.attention:
            raise_faults(self._head_faults(student, teacher))
        self.projection = nn.Linear(student.hidden_size, teacher.hidden_size)

    def _head_faults(self, student: Shape, teacher: Shape) -> list[str]:
        """Maps are compared head by head."""
        pairs = [
            (student.at(m).num_heads, teacher.at(g).num_heads) for m, g in self.pairs.items() if m
        ]
        return [
            f"objective.attention must be 0 for a student of {mine} heads and a teacher of {theirs}"
            for mine, theirs in sorted({*pairs})
            if mine != theirs
        ]

    def fits_attention(self, pattern: Attention) -> list[str]:
        """List why an attention has no map to compare: it hides pairs, or has no scores."""
        kind = kind_of("attention", type(pattern))
        if not self.attention or kind == "dense":
            return []
        return [f"objective.attention must be 0 with attention={kind}: maps are those of dense"]

    def __call__(self, context: Context) -> Loss:
        given = context, self.label_weight, self.distill, self.teacher_temperature
        loss = labels_and_teacher(*given)
        apart = [
            squared_error(context.hidden[m], context.teacher_hidden[g], self.projection)
            for m, g in self.pairs.items()
        ]
        loss.parts["hidden"] = torch.stack(apart).sum()
        total = loss.total + self.hidden * loss.parts["hidden"]
        if self.attention:
            mapped = [(m, g) for m, g in self.pairs.items() if m]  # the embedding has no scores
            maps = [score_error(context.scores[m], context.teacher_scores[g]) for m, g in mapped]
            loss.parts["attention"] = torch.stack(maps).sum()
            total = total + self.attention * loss.parts["attention"]
        return Loss(total, loss.parts)


def score_error(student: Scores, teacher: Scores) -> Tensor:
    """Mean over heads and over the pairs of tokens that an example's student has, summed over
    examples; a pair is held against the teacher's of its positions."""
    layout = student.packed.layout
    position_BL = layout.pad(student.packed.position_N)
    example_B = torch.arange(layout.size, device=layout.device)[:, None, None]
    theirs = teacher.scores_BHLL.permute(0, 2, 3, 1)
    theirs = theirs[example_B, position_BL[:, :, None], position_BL[:, None]]  # B x L x L x H
    apart = student.scores_BHLL.permute(0, 2, 3, 1).float() - theirs.float()
    real_BLL = layout.real_BL[:, :, None] & layout.real_BL[:, None]
    sums_B = (apart.square().mean(-1) * real_BLL).sum((1, 2))
    return (sums_B / layout.there(layout.lengths_B) ** 2).sum()
