"""Token merging (ToMe, Bolya et al. 2023): merge the most similar tokens instead of dropping
tokens.

Tokens are assigned alternately to two sets. Each token of the first set finds its most similar one
in the second (by the cosine of keys averaged over heads), and the best of these pairs are merged
into a mean weighted by size, x <- (s_i x_i + s_j x_j) / (s_i + s_j) ("bipartite soft matching").
Attention adds the log of a key's size to its scores, q . k / sqrt(K) + log s ("proportional
attention"), and mean pooling is weighted by size.

For text: [CLS] and [SEP] are not merged, tokens merge only within their segment, the order is kept,
and a merged row has the position of the token into which it was merged.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor

from eat_lightning.methods.reduction._merged import merged
from eat_lightning.methods.reduction._topk import RATIO, ratio_at
from eat_lightning.model.contracts import Reduction
from eat_lightning.model.evidence import Evidence
from eat_lightning.model.method import method
from eat_lightning.model.packed import Packed
from eat_lightning.model.shape import Shape
from eat_lightning.validation import Layers, Points


@method("reduction")
class ToMe(Reduction):
    """Merges the most similar tokens.

    Args:
        ratio: share of an example's tokens that merge into others at each of `layers`, at most
            half; or a list with one for each.
        proportional: whether attention weights keys by size.
    """

    ratio: Points = 0.2
    layers: Layers = (1, 2, 3, 4, 5)
    proportional: bool = True

    place = "after_attention"
    needs = frozenset({"keys"})
    varies = True
    knob = replace(RATIO, bounds=Annotated[float, Field(ge=0, le=0.5)], fine=RATIO.fine[:11])

    def __call__(self, packed: Packed, evidence: Evidence, layer: int) -> Packed:
        ratio = ratio_at(layer, self.ratio, self.layers)
        wanted_B = torch.floor(ratio * packed.strength_B * packed.layout.lengths_B + 1e-9).long()
        from_M, into_M = best_pairs(packed, evidence.keys_NK, wanted_B)
        if not len(from_M):
            return packed
        return merged(packed, from_M, into_M, self.proportional)

    def export_blockers(self) -> list[str]:
        return ["reduction=tome merges tokens, whose sizes the graphs do not hand on"]

    def flops(self, shape: Shape, layer: int, tokens_B: np.ndarray) -> np.ndarray:
        """Every pair of the two halves is compared, over the width of one head."""
        pairs_B = ((tokens_B + 1) // 2 * (tokens_B // 2)).astype(np.float64)
        return 2.0 * pairs_B * shape.width_of_head


def best_pairs(
    packed: Packed, keys_NK: Float[Tensor, "n k"], wanted_B: Int[Tensor, " b"]
) -> tuple[Int[Tensor, " m"], Int[Tensor, " m"]]:
    """Rows that merge, and the rows that they merge into: of each example the `wanted_B` pairs of
    highest similarity."""
    layout = packed.layout
    keys_BLK = layout.pad(F.normalize(keys_NK, dim=-1))
    special_BL = layout.pad(packed.special_N)
    segment_BL = special_BL.cumsum(1)  # [CLS] and each [SEP] begin another
    free_BL = layout.real_BL & ~special_BL
    may_BIJ = free_BL[:, ::2, None] & free_BL[:, None, 1::2]
    may_BIJ &= segment_BL[:, ::2, None] == segment_BL[:, None, 1::2]
    if not may_BIJ.shape[2]:  # a single token has nobody to merge into
        return layout.segment_N[:0], layout.segment_N[:0]
    similar_BIJ = keys_BLK[:, ::2] @ keys_BLK[:, 1::2].transpose(1, 2)
    best_BI, into_BI = similar_BIJ.masked_fill(~may_BIJ, -torch.inf).max(-1)
    order_BI = best_BI.sort(dim=1, descending=True, stable=True).indices
    place_I = torch.arange(best_BI.shape[1], device=layout.device)
    wanted_BI = place_I < layout.there(wanted_B)[:, None]
    merges_BI = torch.zeros_like(wanted_BI).scatter_(1, order_BI, wanted_BI)
    merges_BI &= best_BI > -torch.inf
    example_M, first_M = merges_BI.nonzero(as_tuple=True)
    start_M = layout.offsets_B[example_M]
    return start_M + 2 * first_M, start_M + 2 * into_BI[example_M, first_M] + 1
