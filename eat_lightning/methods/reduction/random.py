"""Keep random tokens: the baseline that every score has to beat.

The draw is a hash of the example's own token ids, so it is the same at each evaluation, alone or in
a batch, and in a resumed run.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from eat_lightning.bounds import raise_faults, whole_faults
from eat_lightning.methods.reduction._topk import TopK
from eat_lightning.model.evidence import Evidence
from eat_lightning.model.packed import Packed


class Random(TopK):
    """Drops `ratio` of the non-[CLS] tokens after each of `layers` (a list: one for each; layer 0
    is the embedding). seed: another draws others."""

    lowest = 0
    wants = frozenset({"ids"})

    def __init__(
        self,
        ratio: float | Sequence[float] = 0.3,
        layers: Sequence[int] = (2, 4),
        seed: int = 0,
    ):
        raise_faults(self.faults(None, ratio=ratio, layers=layers, seed=seed))
        self.ratio, self.layers, self.seed = ratio, list(layers), seed

    @classmethod
    def faults(
        cls,
        num_layers: int | None,
        ratio: float | Sequence[float] = 0.3,
        layers: Sequence[int] = (2, 4),
        seed: int = 0,
    ) -> list[str]:
        faults = super().faults(num_layers, ratio, layers)
        return [*faults, *whole_faults("reduction.seed", seed, 0)]

    def score(self, packed: Packed, evidence: Evidence) -> Float[Tensor, " n"]:
        """Uniform in [0, 1): the text (what is left of it) seeds the draw of each position."""
        layout = packed.layout
        token_N = hashed(packed.notes["ids"] + (packed.position_N << 32) + self.seed)
        text_B = torch.zeros_like(layout.offsets_B).index_add(0, layout.segment_N, token_N)
        drawn_N = hashed(text_B[layout.segment_N] + packed.position_N)
        return ((drawn_N >> 40) & 0xFFFFFF).float() / 2**24

    def lost_in_export(self) -> list[str]:
        return ["reduction=random draws from token ids, which no graph hands on"]


def hashed(x_N: Int[Tensor, " n"]) -> Int[Tensor, " n"]:
    """Whole numbers stirred by multiplications that overflow (Steele et al. 2014, SplitMix64)."""
    x_N = folded(x_N, 30) * -0x40A7B892E31B1A47
    x_N = folded(x_N, 27) * -0x6B2FB644ECCEEE15
    return folded(x_N, 31)


def folded(x_N: Int[Tensor, " n"], bits: int) -> Int[Tensor, " n"]:
    """x ^ (x >> bits), where zeros come in from above: int64 shifts its sign in."""
    return x_N ^ ((x_N >> bits) & (2 ** (64 - bits) - 1))
