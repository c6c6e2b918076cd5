"""Base class and functions of the top-k reductions: keep the highest scores of each example.

Shapes: B examples, L longest length, N packed tokens, M rows kept.
"""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Annotated

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor

from eat_lightning.model.contracts import Knob, Reduction
from eat_lightning.model.evidence import Evidence
from eat_lightning.model.method import method
from eat_lightning.model.packed import Packed
from eat_lightning.validation import Layers, Points, in_layers

RATIO = Knob(
    "ratio",
    strict=0.0,
    grid=(0.1, 0.2, 0.3, 0.4, 0.5),
    fine=tuple(round(0.05 * k, 2) for k in range(17)),
    bounds=Annotated[float, Field(ge=0, lt=1)],
    is_ratio=True,
)
"""The share of an example's tokens, without [CLS], that go at a layer."""

FromEmbedding = Annotated[Sequence[int], in_layers(lowest=0)]  # no layer's work is needed


@method("reduction")
class TopK(Reduction):
    """Drops `ratio` of the non-[CLS] tokens, those with the lowest `score`, at each of `layers` (or
    a list with one ratio for each). A subclass defines the score."""

    ratio: Points = 0.3
    layers: Layers = (2, 4)

    place = "after_layer"
    knob = RATIO

    @abstractmethod
    def score(self, packed: Packed, evidence: Evidence) -> Float[Tensor, " n"]:
        """Return a score for each token; tokens with higher scores stay."""

    def __call__(self, packed: Packed, evidence: Evidence, layer: int) -> Packed:
        score_N = self.score(packed, evidence)
        return keep_ratio(packed, score_N, ratio_at(layer, self.ratio, self.layers))


def ratio_at(layer: int, ratio: float | Sequence[float], layers: Sequence[int]) -> float:
    """The ratio at a layer, from one for all of `layers` or one for each."""
    return ratio[list(layers).index(layer)] if isinstance(ratio, Sequence) else ratio


def kept_lengths(
    lengths_B: Int[Tensor, " b"], ratio: float, strength_B: Float[Tensor, " b"]
) -> Int[Tensor, " b"]:
    """[CLS] and ceil((1 - p)(t - 1)) others (EAT algorithm 1), where p = ratio x strength.

    Written as (t - 1) - floor(p (t - 1)), with a margin of 1e-9 against products such as
    0.29 x 100 = 28.999999999999996, so that the count is that of exact arithmetic.
    """
    others_B = lengths_B - 1
    dropped_B = torch.floor(ratio * strength_B.double() * others_B + 1e-9)
    return 1 + others_B - dropped_B.long()


def keep_ratio(packed: Packed, score_N: Float[Tensor, " n"], ratio: float) -> Packed:
    """Drop a ratio of each example's lowest-scored tokens, multiplied by the current strength."""
    lengths_B = kept_lengths(packed.layout.lengths_B, ratio, packed.strength_B)
    return keep_highest(packed, score_N, lengths_B)


def keep_highest(
    packed: Packed, score_N: Float[Tensor, " n"], lengths_B: Int[Tensor, " b"]
) -> Packed:
    """Keep the `lengths_B` tokens (on the CPU) with the highest scores in each example. [CLS]
    always stays, and ties go to the earlier token.

    A token with an infinite score is always kept, and counts among the kept ones.
    """
    layout = packed.layout
    layout.check_rows("score must give N numbers", score_N)
    if layout.holds(lengths_B):
        return packed
    order_BL = order(packed, score_N)
    place_L = torch.arange(layout.longest, device=layout.device)
    wanted_BL = place_L < layout.there(lengths_B)[:, None]
    stays_BL = torch.zeros_like(order_BL, dtype=torch.bool).scatter_(1, order_BL, wanted_BL)
    return packed.take(layout.rows_at(stays_BL, lengths_B), lengths_B)


def order(packed: Packed, score_N: Float[Tensor, " n"], first: bool = True) -> Int[Tensor, "b l"]:
    """Places of each example's tokens from the highest score to the lowest, padding last; with
    `first`, [CLS] before all."""
    layout = packed.layout
    score_BL = layout.pad(score_N)
    if not layout.even:
        score_BL = score_BL.masked_fill(~layout.real_BL, float("-inf"))
    if first:
        first_L = torch.arange(layout.longest, device=layout.device) == 0
        score_BL = score_BL.masked_fill(first_L, float("inf"))
    return score_BL.sort(dim=1, descending=True, stable=True).indices
