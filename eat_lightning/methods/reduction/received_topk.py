"""EAT's alternative score: keep the tokens that receive most attention (after PoWER-BERT, 2020).

s_j = sum_i A_ij, the column sums of the attention A, averaged over heads.

It needs the whole attention matrix, so layers that prune cannot use the fused attention kernel.
"""

from jaxtyping import Float
from torch import Tensor

from eat_lightning.methods.reduction._topk import TopK
from eat_lightning.model.evidence import Evidence
from eat_lightning.model.packed import Packed


class ReceivedTopK(TopK):
    """Drops `ratio` of the non-[CLS] tokens after each of `layers` (a list: one for each)."""

    needs = frozenset({"received"})

    def score(self, packed: Packed, evidence: Evidence) -> Float[Tensor, " n"]:
        return evidence.received_N
