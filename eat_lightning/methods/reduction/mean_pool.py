"""Funnel's pooling step (Dai et al. 2020): neighbours are replaced by their mean (stride 2), which
halves the text.

[CLS] is excluded, the other tokens are paired from the left, and an odd last token stays. Without
Funnel's pretraining this is a baseline for merging. The first layer of a Funnel block, in which
pooled queries attend to unpooled keys, is not implemented. Later means are weighted by size, so
that they equal one mean over all tokens.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import torch
from jaxtyping import Int
from pydantic import Field
from torch import Tensor

from eat_lightning.methods.reduction._merged import merged
from eat_lightning.methods.reduction._topk import RATIO, ratio_at
from eat_lightning.model.contracts import Reduction
from eat_lightning.model.evidence import Evidence
from eat_lightning.model.method import method
from eat_lightning.model.packed import Packed
from eat_lightning.validation import Layers, Points


@method("reduction")
class MeanPool(Reduction):
    """Merges neighbouring tokens into their mean.

    Args:
        ratio: share of an example's tokens that disappear after each of `layers`, or a list with
            one for each; 0.5 merges every pair, as in the paper, and less merges pairs that are
            spread evenly over the text.
    """

    ratio: Points = 0.5
    layers: Layers = (2, 4)

    place = "after_layer"
    knob = replace(RATIO, bounds=Annotated[float, Field(ge=0, le=0.5)], fine=RATIO.fine[:11])

    def __call__(self, packed: Packed, evidence: Evidence, layer: int) -> Packed:
        share_B = 2 * ratio_at(layer, self.ratio, self.layers) * packed.strength_B
        from_M = second_of_pairs(packed, share_B)
        return merged(packed, from_M, from_M - 1, False) if len(from_M) else packed

    def export_blockers(self) -> list[str]:
        return ["reduction=mean_pool merges tokens, whose sizes the graphs do not hand on"]


def second_of_pairs(packed: Packed, share_B: Tensor) -> Int[Tensor, " m"]:
    """The right row of each pair that merges: pair k of those where floor(k x share) rises."""
    layout = packed.layout
    pair_N = layout.index_N // 2  # from 1: rows 1 and 2, 3 and 4, ...
    share_N = layout.there(share_B)[layout.segment_N]
    rises_N = torch.floor(pair_N * share_N + 1e-9) > torch.floor((pair_N - 1) * share_N + 1e-9)
    return (rises_N & (layout.index_N % 2 == 0) & (layout.index_N > 0)).nonzero().flatten()
