"""Movement pruning (Sanh et al. 2020): keep the weights that training moves away from zero.

Each weight of the layers' matrices has a score S, and each step multiplies a matrix by the mask of
its top-v scores. The gradient passes straight through the mask, dL/dS = dL/dW' W, so a score grows
while its weight moves away from zero. v decreases from 1 to `keep` with the schedule (cubic with
schedule=gradual). Query, key and value are separate matrices.

It saves storage but no time: the weights contain zeros, which compress well but are multiplied like
any other number. The authors state the same for plain PyTorch.

Not implemented: soft movement pruning (a threshold on sigmoid(S) and a penalty).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn

from eat_lightning.methods.objective._losses import labels_and_teacher
from eat_lightning.model.contracts import Objective
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.method import method
from eat_lightning.model.shape import Shape
from eat_lightning.model.training import Context, Loss
from eat_lightning.validation import NotNegative, Positive

MATRICES = {"qkv": 3, "out": 1, "up": 1, "down": 1}  # and how many lie in each


@method("objective")
class Movement(Objective, nn.Module):
    """Loss of every exit, with scores that decide which weights remain.

    Args:
        keep: v, the share of each matrix's weights to keep.
        lr: learning rate of the scores.
        label_weight: weight of the exits' loss with labels (0.5 in the paper with distillation).
        distill: weight of the divergence from a teacher's logits (0.5 there).
        teacher_temperature: temperature of those logits.
    """

    keep: Annotated[float, Field(gt=0, le=1)] = 0.15
    lr: Positive = 0.01
    label_weight: NotNegative = 1.0
    distill: NotNegative = 0.0
    teacher_temperature: Positive = 2.0

    def bind(self, student: Shape, teacher: Shape | None) -> None:
        """Make a score for each weight, 0 as in the paper."""
        self.scores = nn.ParameterList()
        for k in range(student.num_layers):
            size, width = student.at(k + 1), student.hidden_size
            heads, inner = size.attention_width, size.intermediate_size
            for rows, columns in (
                (3 * heads, width),
                (width, heads),
                (inner, width),
                (width, inner),
            ):
                self.scores.append(nn.Parameter(torch.zeros(rows, columns)))

    def groups(self, lr: float) -> list[dict[str, Any]]:
        return [{"params": [*self.scores], "lr": self.lr, "weight_decay": 0.0}]

    def effective_weights(self, encoder: AdaptiveEncoder) -> dict[str, Tensor]:
        """The layers' matrices times their masks."""
        share, matrices = 1 - (1 - self.keep) * float(encoder.strength), matrices_of(encoder)
        masks = {
            name: masked_top(score, share, MATRICES[name.split(".")[2]])
            for name, score in zip(matrices, self.scores, strict=True)
        }
        return {name: weight * masks[name] for name, weight in matrices.items()}

    def __call__(self, context: Context) -> Loss:
        given = context, self.label_weight, self.distill, self.teacher_temperature
        return labels_and_teacher(*given)

    def summary(self, encoder: AdaptiveEncoder) -> list[str]:
        """Tell how many zeros there are, and what they are good for."""
        matrices = matrices_of(encoder).values()
        zero = sum(int((weight == 0).sum()) for weight in matrices) / sum(
            w.numel() for w in matrices
        )
        return [
            f"movement: {zero:.1%} of the weights in the layers' matrices are zero. That saves "
            "storage (once the file is compressed) and no time: zeros are multiplied as well"
        ]


def matrices_of(encoder: AdaptiveEncoder) -> Mapping[str, Tensor]:
    """The matrices of the layers by their names in the encoder."""
    return {
        f"layers.{i}.{name}.weight": layer.get_submodule(name).weight
        for i, layer in enumerate(encoder.layers)
        for name in MATRICES
    }


def masked_top(score: Tensor, share: float, parts: int) -> Tensor:
    """1 for that share of each of so many parts (along rows) which has the highest scores, else 0.
    Its gradient is handed to the scores as it comes (straight through)."""
    mask = torch.zeros_like(score)
    for part, of_part in zip(score.detach().chunk(parts), mask.chunk(parts), strict=True):
        count = max(1, round(share * part.numel()))
        of_part.view(-1)[part.flatten().topk(count, sorted=False).indices] = 1
    return mask + (score - score.detach())
