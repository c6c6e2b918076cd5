"""Adaptive token sampling (ATS, Fayyaz et al. 2022): sample tokens by significance, so that an
example keeps few tokens if few of them matter.

s_j = A_cls,j |v_j| / sum over i of A_cls,i |v_i|, for i and j other than [CLS], with attention A
averaged over heads. The cumulative distribution of s, in ascending order, is read at equally spaced
points, and each point keeps the nearest token. Points with the same nearest token keep only that
one (inverse transform sampling).

Shapes: B examples, L longest length, J points.
"""

from __future__ import annotations

from typing import Annotated

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Tensor

from eat_lightning.methods.reduction._gates import keep_where
from eat_lightning.methods.reduction._topk import kept_lengths, ratio_at
from eat_lightning.model.contracts import Knob, Reduction
from eat_lightning.model.evidence import Evidence
from eat_lightning.model.method import method
from eat_lightning.model.packed import Packed
from eat_lightning.validation import Layers, Points


@method("reduction")
class AdaptiveTokenSampling(Reduction):
    """Keeps tokens that are sampled by significance.

    Args:
        samples: maximum number of tokens to keep at each of `layers`, as a share of the tokens
            without [CLS]; or a list with one for each layer.
        least: minimum number of samples, [CLS] included (8 in the released code).
    """

    samples: Points = 0.7
    layers: Layers = (2, 4)
    least: Annotated[int, Field(ge=2)] = 8

    place = "after_attention"
    needs = frozenset({"cls", "value_norm"})
    varies = True
    knob = Knob(
        "samples",
        strict=1.0,
        grid=(0.9, 0.8, 0.7, 0.6, 0.5),
        fine=tuple(round(1 - 0.05 * k, 2) for k in range(20)),
        bounds=Annotated[float, Field(gt=0, le=1)],
    )

    def export_blockers(self) -> list[str]:
        return ["reduction=ats keeps as many tokens as their scores say: a graph wants a count"]

    def _significance(self, packed: Packed, evidence: Evidence) -> Float[Tensor, "b l"]:
        """0 for [CLS] and padding; in float64, so that sums do not depend on the padding."""
        score_N = evidence.cls_N.double() * evidence.value_norm_N.double()
        layout = packed.layout
        score_BL = layout.pad(score_N.masked_fill(layout.index_N == 0, 0.0))
        return score_BL.masked_fill(~layout.real_BL, 0.0)

    def __call__(self, packed: Packed, evidence: Evidence, layer: int) -> Packed:
        layout, ratio = packed.layout, 1 - ratio_at(layer, self.samples, self.layers)
        most_B = kept_lengths(layout.lengths_B, ratio, packed.strength_B).clamp(min=self.least)
        if (most_B >= layout.lengths_B).all():
            return packed
        whole_B = layout.there(most_B >= layout.lengths_B)
        points = int(most_B.max()) - 1
        stays_BL = sampled(self._significance(packed, evidence), layout.there(most_B) - 1, points)
        return keep_where(packed, layout.unpad(stays_BL | whole_B[:, None]))


def sampled(
    significance_BL: Float[Tensor, "b l"], most_B: Int[Tensor, " b"], points: int
) -> Bool[Tensor, "b l"]:
    """Tokens nearest to `most_B` equally spaced points of each cumulative distribution, from its
    least value above 0 to 1. points: the largest of most_B."""
    sorted_BL, order_BL = significance_BL.sort(dim=1, stable=True)
    cumulated_BL = sorted_BL.cumsum(1) / sorted_BL.sum(1, keepdim=True).clamp(min=1e-300)
    least_B1 = cumulated_BL.masked_fill(cumulated_BL == 0, 1.0).amin(1, keepdim=True)
    # Counted from the last, which is 1; one before an example's first repeats it and keeps nothing.
    last_B1 = most_B[:, None] - 1
    back_BJ = torch.minimum(torch.arange(points, device=order_BL.device), last_B1)
    point_BJ = 1 - (1 - least_B1) * back_BJ / last_B1.clamp(min=1)
    distance_BJL = (cumulated_BL[:, None] - point_BJ[..., None]).abs()
    nearest_BJ = order_BL.gather(1, distance_BJL.argmin(-1))
    return torch.zeros_like(order_BL, dtype=torch.bool).scatter_(1, nearest_BJ, True)
