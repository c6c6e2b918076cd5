"""EAT's token pruning (Miller, algorithm 1): keep the vectors with the largest L2 norm after a
layer.

s_j = |x_j|_2, with the layer's output x_j.
"""

from jaxtyping import Float
from torch import Tensor

from eat_lightning.methods.reduction._topk import TopK
from eat_lightning.model.evidence import Evidence
from eat_lightning.model.packed import Packed


class NormTopK(TopK):
    """Drops `ratio` of the non-[CLS] tokens after each of `layers` (a list: one for each)."""

    def score(self, packed: Packed, evidence: Evidence) -> Float[Tensor, " n"]:
        # In fp32: norms taken in bf16 tie in most sentences, and ties keep other tokens.
        return packed.x_ND.detach().float().norm(dim=-1)
