"""EAT's token pruning (Miller, algorithm 1): keep the vectors of largest L2 norm after a layer."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor

from eat_lightning.bounds import raise_faults
from eat_lightning.methods.reduction._topk import RATIO, keep_ratio, ratio_at, topk_faults
from eat_lightning.model.evidence import Evidence
from eat_lightning.model.packed import Packed


class NormTopK:
    """Drops `ratio` of the non-[CLS] tokens after each of `layers` (a list: one for each)."""

    place = "after_layer"
    knob = RATIO
    needs: frozenset[str] = frozenset()

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
        # In fp32: norms taken in bf16 tie in most sentences, and ties keep other tokens.
        return packed.x_ND.detach().float().norm(dim=-1)

    def __call__(self, packed: Packed, evidence: Evidence, layer: int) -> Packed:
        score_N = self.score(packed, evidence)
        return keep_ratio(packed, score_N, ratio_at(layer, self.ratio, self.layers))
