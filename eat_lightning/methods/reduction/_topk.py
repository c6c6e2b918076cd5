"""What the top-k reductions share: keep the highest scores of each example.

Shapes: B examples, L longest length, N packed tokens, M rows kept.
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from eat_lightning.bounds import layer_faults, number_faults, one_each, raise_faults
from eat_lightning.model.contracts import Knob
from eat_lightning.model.evidence import Evidence
from eat_lightning.model.packed import Packed

RATIO = Knob(
    "ratio",
    strict=0.0,
    grid=(0.1, 0.2, 0.3, 0.4, 0.5),
    fine=tuple(round(0.05 * k, 2) for k in range(17)),
    bounds="[0, 1)",
)


class TopK:
    """Drops `ratio` of the non-[CLS] tokens, those of lowest `score`, at each of `layers` (a list:
    one for each). A subclass is a score. lowest: the first layer it may act after, 0 for one that
    needs no layer's work."""

    place = "after_layer"
    knob = RATIO
    needs: frozenset[str] = frozenset()
    lowest = 1

    def __init__(self, ratio: float | Sequence[float] = 0.3, layers: Sequence[int] = (2, 4)):
        raise_faults(self.faults(None, ratio=ratio, layers=layers))
        self.ratio, self.layers = ratio, list(layers)

    @classmethod
    def faults(cls, num_layers: int | None, ratio: Any = 0.3, layers: Any = (2, 4)) -> list[str]:
        return topk_faults(num_layers, ratio, layers, lowest=cls.lowest)

    def score(self, packed: Packed, evidence: Evidence) -> Float[Tensor, " n"]:
        raise NotImplementedError

    def __call__(self, packed: Packed, evidence: Evidence, layer: int) -> Packed:
        score_N = self.score(packed, evidence)
        return keep_ratio(packed, score_N, ratio_at(layer, self.ratio, self.layers))


def topk_faults(
    num_layers: int | None, ratio: Any, layers: Any, bounds: str = RATIO.bounds, lowest: int = 1
) -> list[str]:
    return [
        *number_faults("reduction.ratio", ratio, bounds),
        *layer_faults("reduction.layers", layers, num_layers, lowest=lowest),
        *one_each("reduction.ratio", ratio, layers),
    ]


def ratio_at(layer: int, ratio: float | Sequence[float], layers: Sequence[int]) -> float:
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
    """Drop a ratio of each example's lowest-scored tokens, as strongly as the schedule says."""
    lengths_B = kept_lengths(packed.layout.lengths_B, ratio, packed.strength_B)
    return keep_highest(packed, score_N, lengths_B)


def keep_highest(
    packed: Packed, score_N: Float[Tensor, " n"], lengths_B: Int[Tensor, " b"]
) -> Packed:
    """Keep `lengths_B` tokens of each example (on the host), those of highest score; [CLS] always
    stays, ties go to the earlier token.

    A token of infinite score outranks all others but counts among those kept.
    """
    layout = packed.layout
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
