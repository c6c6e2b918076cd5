"""Transkimmer (Guan et al. 2022): a small predictor before every layer decides which tokens it
skips.

keep = argmax of MLP(x) for each token. In training it is a hard sample of the Gumbel-softmax
(temperature 1) with the gradient of the soft one (straight-through). A skipped token is no longer a
key and is forwarded to the end as it is. c times the share of kept tokens, averaged over layers, is
added to the loss (skim loss). No schedule is needed, and predictors initially keep all tokens.

The released code multiplies attention by the mask after the softmax, and also samples at inference.
Here, keys are weighted within the softmax, so that training equals dropping, and shares refer to
the example's own tokens rather than the padded length.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from eat_lightning.methods.reduction._gates import forwarded, keep_where, weighed
from eat_lightning.model.contracts import Knob, Reduction
from eat_lightning.model.evidence import Evidence
from eat_lightning.model.method import method
from eat_lightning.model.packed import Packed
from eat_lightning.model.shape import Shape
from eat_lightning.validation import NotNegative, Point, Share, in_layers


@method("reduction")
class Transkimmer(Reduction, nn.Module):
    """Drops the tokens that a predictor before each layer skips.

    Args:
        layers: the predictor of layer l + 1 reads the output of layer l (0: the embedding).
        penalty: c, the weight of the skim loss.
        margin: initial lead of "keep" over "skip", before training.
        threshold: minimum probability of "keep"; 0.5 is the argmax, and 0 drops nothing.
    """

    # Behind the last layer nothing is read.
    layers: Annotated[Sequence[int], in_layers(lowest=0, without_last=1)] = (0, 1, 2, 3, 4, 5)
    penalty: NotNegative = 0.5
    margin: NotNegative = 5.0
    threshold: Point = 0.5

    place = "after_layer"
    varies = True
    knob = Knob(
        "threshold",
        strict=0.0,
        grid=(0.1, 0.25, 0.5, 0.75, 0.9),
        fine=tuple(round(0.05 * k, 2) for k in range(21)),
        bounds=Share,
    )

    def bind(self, shape: Shape, exits: Sequence[int], num_labels: int) -> None:
        self.predictors = nn.ModuleDict({str(k): self._predictor(shape) for k in self.layers})

    def _predictor(self, shape: Shape) -> nn.Sequential:
        width = shape.hidden_size
        last = nn.Linear(width, 2)
        with torch.no_grad():
            margins = torch.tensor([-self.margin, self.margin])
            last.bias.copy_(margins + 0.02 * torch.randn(2))
        norms = nn.LayerNorm(width), nn.LayerNorm(width)
        return nn.Sequential(norms[0], nn.Linear(width, width), norms[1], nn.GELU(), last)

    def export_blockers(self) -> list[str]:
        return ["reduction=transkimmer keeps as many tokens as it predicts: a graph wants a count"]

    def flops(self, shape: Shape, layer: int, tokens_B: np.ndarray) -> np.ndarray:
        """Two products of each token with a predictor's weights."""
        return 2.0 * tokens_B * shape.hidden_size * (shape.hidden_size + 2)

    def soften(self, packed: Packed, evidence: Evidence, layer: int) -> Packed:
        """Skimmed rows stay, as keys of no weight."""
        layout = packed.layout
        soft_N = F.gumbel_softmax(self.predictors[str(layer)](packed.x_ND).float())[:, 1]
        # Not torch's hard=True, whose 0 and 1 are off by their last bits: a log is taken of them.
        sample_N = (soft_N > 0.5).float() + (soft_N - soft_N.detach())
        strength_N = layout.there(packed.strength_B)[layout.segment_N].float()
        gate_N = 1 - strength_N * (1 - sample_N)
        gate_N = torch.where(layout.index_N == 0, 1.0, gate_N)
        before_N = torch.ones_like(gate_N) if packed.size_N is None else packed.size_N
        kept_N = before_N * gate_N
        packed = weighed(forwarded(packed, before_N - kept_N), gate_N)
        kept_B = kept_N.new_zeros(layout.size).index_add(0, layout.segment_N, kept_N)
        share_B = kept_B / layout.there(layout.lengths_B)
        return packed.with_penalty("skim", self.penalty / len(self.layers) * share_B)

    def __call__(self, packed: Packed, evidence: Evidence, layer: int) -> Packed:
        predictor = self.predictors[str(layer)]
        if self.training and any(p.requires_grad for p in predictor.parameters()):
            return self.soften(packed, evidence, layer)
        layout = packed.layout
        keep_N = predictor(packed.x_ND).float().softmax(-1)[:, 1]
        strength_N = layout.there(packed.strength_B)[layout.segment_N]
        stays_N = (keep_N >= self.threshold * strength_N) | (layout.index_N == 0)
        return keep_where(forwarded(packed, (~stays_N).float()), stays_N)
