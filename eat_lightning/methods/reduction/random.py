"""Keep random tokens: the baseline that every score has to beat.

The draw is a hash of the example's own token ids, so it is the same at each evaluation, alone or in
a batch, and in a resumed run.
"""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor

from eat_lightning.bounds import raise_faults, whole_faults
from eat_lightning.methods.reduction._topk import TopK
from eat_lightning.model.evidence import Evidence
from eat_lightning.model.packed import Packed, mixed


class Random(TopK):
    """Drops `ratio` of the non-[CLS] tokens after each of `layers` (a list: one for each; layer 0
    is the embedding). seed: another draws others."""

    lowest = 0
    wants = frozenset({"example"})

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
        """Uniform in [0, 1): the text seeds the draw of each position."""
        drawn_N = mixed(mixed(packed.notes["example"] + self.seed) + packed.position_N)
        return ((drawn_N >> 40) & 0xFFFFFF).float() / 2**24

    def lost_in_export(self) -> list[str]:
        return ["reduction=random draws from token ids, which no graph hands on"]
