"""Adaptive token sampling (ATS, Fayyaz et al. 2022, section 3): sample tokens by significance, so
that an example keeps the fewer, the more one of them matters.

Significance is the attention of [CLS] to a token times the norm of its value (equation 4),
normalised over the tokens but [CLS]. Its cumulative distribution is read at equally spaced points,
and each point keeps the token nearest to it; points that meet in one token keep that one alone.

Shapes: B examples, L longest length, J points.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from eat_lightning.bounds import raise_faults, whole_faults
from eat_lightning.methods.reduction._gates import keep_where
from eat_lightning.methods.reduction._topk import RATIO, kept_lengths, ratio_at, topk_faults
from eat_lightning.model.evidence import Evidence
from eat_lightning.model.packed import Packed


class AdaptiveTokenSampling:
    """Samples as many tokens as dropping `ratio` of them at each of `layers` (a list: one for each)
    would keep, which is the most that stay, and at least `least` (the released code's 8)."""

    place = "after_attention"
    needs = frozenset({"cls", "value_norm"})
    varies = True
    knob = RATIO

    def __init__(
        self,
        ratio: float | Sequence[float] = 0.3,
        layers: Sequence[int] = (2, 4),
        least: int = 8,
    ):
        raise_faults(self.faults(None, ratio=ratio, layers=layers, least=least))
        self.ratio, self.layers, self.least = ratio, list(layers), least

    @classmethod
    def faults(
        cls,
        num_layers: int | None,
        ratio: float | Sequence[float] = 0.3,
        layers: Sequence[int] = (2, 4),
        least: int = 8,
    ) -> list[str]:
        faults = topk_faults(num_layers, ratio, layers)
        return [*faults, *whole_faults("reduction.least", least, 2)]

    def lost_in_export(self) -> list[str]:
        return ["reduction=ats keeps as many tokens as their scores say: a graph wants a count"]

    def significance(self, packed: Packed, evidence: Evidence) -> Float[Tensor, "b l"]:
        """0 for [CLS] and padding; in float64, so that sums do not depend on the padding."""
        assert evidence.cls_N is not None
        assert evidence.value_norm_N is not None
        score_N = evidence.cls_N.double() * evidence.value_norm_N.double()
        return packed.layout.pad(score_N.masked_fill(packed.layout.index_N == 0, 0.0)).where(
            packed.layout.real_BL, 0.0
        )

    def __call__(self, packed: Packed, evidence: Evidence, layer: int) -> Packed:
        layout, ratio = packed.layout, ratio_at(layer, self.ratio, self.layers)
        most_B = kept_lengths(layout.lengths_B, ratio, packed.strength_B).clamp(min=self.least)
        if (most_B >= layout.lengths_B).all():
            return packed
        whole_B = layout.there(most_B >= layout.lengths_B)
        points = int(most_B.max()) - 1
        stays_BL = sampled(self.significance(packed, evidence), layout.there(most_B) - 1, points)
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
