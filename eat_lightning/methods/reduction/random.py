"""Keep random tokens: a baseline for every score.

The draw is a hash of the example's own token ids, so it is the same in every evaluation, alone or
in a batch, and in a resumed run.
"""

from __future__ import annotations

from jaxtyping import Float
from pydantic import NonNegativeInt
from torch import Tensor

from eat_lightning.methods.reduction._topk import FromEmbedding, TopK
from eat_lightning.model.evidence import Evidence
from eat_lightning.model.method import method
from eat_lightning.model.packed import Packed, mixed


@method("reduction")
class Random(TopK):
    """Drops `ratio` of the non-[CLS] tokens after each of `layers` (or a list with one for each;
    layer 0 is the embedding).

    Args:
        seed: seed of the draw.
    """

    layers: FromEmbedding = (2, 4)
    seed: NonNegativeInt = 0

    wants = frozenset({"example"})

    def score(self, packed: Packed, evidence: Evidence) -> Float[Tensor, " n"]:
        """Uniform in [0, 1): the text seeds the draw of each position."""
        drawn_N = mixed(mixed(packed.notes["example"] + self.seed) + packed.position_N)
        return ((drawn_N >> 40) & 0xFFFFFF).float() / 2**24

    def export_blockers(self) -> list[str]:
        return ["reduction=random draws from token ids, which no graph hands on"]
