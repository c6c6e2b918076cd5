"""EAT's alternative score: keep the tokens that received most attention (after PoWER-BERT, 2020).

It needs the whole attention matrix, so the layers that prune forgo the fused attention kernel.
"""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor

from eat_lightning.bounds import raise_faults
from eat_lightning.methods.reduction._topk import RATIO, keep_ratio, ratio_at, topk_faults
from eat_lightning.model.evidence import Evidence
from eat_lightning.model.packed import Packed


class ReceivedTopK:
    """Drops `ratio` of the non-[CLS] tokens after each of `layers` (a list: one for each)."""

    place = "after_layer"
    knob = RATIO
    needs = frozenset({"received"})

    def __init__(self, ratio: float | Sequence[float] = 0.3, layers: Sequence[int] = (2, 4)):
        raise_faults(self.faults(None, ratio=ratio, layers=layers))
        self.ratio, self.layers = ratio, list(layers)

    @classmethod
    def faults(
        cls,
        num_layers: int | None,
        ratio: float | Sequence[float] = 0.3,
        layers: Sequence[int] = (2, 4),
    ) -> list[str]:
        return topk_faults(num_layers, ratio, layers)

    def score(self, packed: Packed, evidence: Evidence) -> Float[Tensor, " n"]:
        assert evidence.received_N is not None
        return evidence.received_N

    def __call__(self, packed: Packed, evidence: Evidence, layer: int) -> Packed:
        score_N = self.score(packed, evidence)
        return keep_ratio(packed, score_N, ratio_at(layer, self.ratio, self.layers))
