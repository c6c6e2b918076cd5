"""Learned token pruning (LTP, Kim et al. 2022): drop tokens that receive less attention than a
learned threshold.

A token's score is the attention it receives, s_j = 1/t sum_i A_ij, with attention A averaged over
heads and the example's own number of tokens t (not the padded length, so that neighbours do not
change a threshold). Layer l has the threshold theta_l = final x (l - 1) / L + delta_l. delta is
learned in a soft stage: each row is multiplied by sigmoid((s_j - theta_l) / T) after the
feed-forward block, and lambda times the mean gate of each layer is added to the loss. Afterwards,
rows are dropped and thresholds are frozen.

[CLS] is never dropped, and [SEP] only without `protect_sep`: in the released code, masked rows
remain readable, whereas here they would be gone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from eat_lightning.methods.reduction._gates import gated, keep_where
from eat_lightning.model.contracts import Knob, Reduction
from eat_lightning.model.evidence import Evidence
from eat_lightning.model.method import method
from eat_lightning.model.packed import Packed
from eat_lightning.model.shape import Shape
from eat_lightning.validation import Layers, NotNegative, Point, Positive


@method("reduction")
class LearnedTokenPruning(Reduction, nn.Module):
    """Drops tokens that receive less attention than a learned threshold.

    Args:
        final: initial threshold of the last layer.
        temperature: T, the temperature of the soft gate.
        penalty: lambda, the weight of the mean gates in the loss.
        lr: learning rate of the thresholds.
        scale: factor on the learned thresholds; 0 drops nothing.
        key_weight: in the soft stage, a gate also weights its key, so that gates of 0 and 1 equal
            dropping (not in the paper).
    """

    layers: Layers = (1, 2, 3, 4, 5)
    final: Annotated[float, Field(ge=0, lt=1)] = 0.01
    temperature: Positive = 0.001
    penalty: NotNegative = 0.1
    lr: Positive = 0.001
    scale: Point = 1.0
    protect_sep: bool = True
    key_weight: bool = False

    place = "after_attention"
    soft_place = "after_layer"
    needs = frozenset({"received"})
    grad = True
    varies = True
    knob = Knob(
        "scale",
        strict=0.0,
        grid=(0.25, 0.5, 1.0, 1.5, 2.0),
        fine=tuple(round(0.1 * k, 1) for k in range(41)),
        bounds=NotNegative,
    )

    def bind(self, shape: Shape, exits: Sequence[int], num_labels: int) -> None:
        self.num_layers = shape.num_layers
        self.delta = nn.Parameter(torch.zeros(len(self.layers)))

    def groups(self, lr: float) -> list[dict[str, Any]]:
        return [{"params": [self.delta], "lr": self.lr, "weight_decay": 0.0}]

    def export_blockers(self) -> list[str]:
        return ["reduction=ltp keeps as many tokens as their scores say: a graph wants a count"]

    def _threshold(self, layer: int) -> Float[Tensor, ""]:
        before = self.final * (layer - 1) / self.num_layers
        return before + self.delta[self.layers.index(layer)]

    def score(self, packed: Packed, evidence: Evidence) -> Float[Tensor, " n"]:
        """Attention received, a mean over the example's queries: they add up to 1."""
        lengths_B = packed.layout.there(packed.layout.lengths_B)
        return evidence.received_N / lengths_B[packed.layout.segment_N]

    def soften(self, packed: Packed, evidence: Evidence, layer: int) -> Packed:
        score_N = self.score(packed, evidence)
        gate_N = torch.sigmoid((score_N - self._threshold(layer)) / self.temperature)
        return gated(packed, gate_N, self.penalty, self.key_weight)

    def __call__(self, packed: Packed, evidence: Evidence, layer: int) -> Packed:
        strength_N = packed.layout.there(packed.strength_B)[packed.layout.segment_N]
        least_N = self._threshold(layer).detach() * self.scale * strength_N
        # Below 1e-5 a token counts for nothing (their code's floor), if anything is to be dropped.
        least_N = torch.where(strength_N * self.scale > 0, least_N.clamp(min=1e-5), -1.0)
        stays_N = self.score(packed, evidence) >= least_N
        return keep_where(packed, stays_N | (packed.special_N & self.protect_sep))
