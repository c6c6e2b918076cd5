"""Keep the tokens that [CLS] attends to most (EViT, Liang et al. 2022), [SEP] protected or not.

s_j = A_cls,j, A a mean over heads. It needs one attention row per head, so the fused attention
kernel stays in use.
"""

from jaxtyping import Float
from torch import Tensor

from eat_lightning.methods.reduction._topk import TopK
from eat_lightning.model.evidence import Evidence
from eat_lightning.model.method import method
from eat_lightning.model.packed import Packed


@method("reduction")
class ClsTopK(TopK):
    """Drops `ratio` of the non-[CLS] tokens after each of `layers` (a list: one for each).

    Args:
        protect_sep: [SEP] tokens outrank all others; they count among the tokens kept.
    """

    protect_sep: bool = True

    needs = frozenset({"cls"})

    def score(self, packed: Packed, evidence: Evidence) -> Float[Tensor, " n"]:
        if not self.protect_sep:
            return evidence.cls_N
        return evidence.cls_N.masked_fill(packed.special_N, float("inf"))
