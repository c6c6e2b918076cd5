"""Keep the tokens to which [CLS] attends most (EViT, Liang et al. 2022).

s_j = A_cls,j, with attention A averaged over heads. It needs only one row of attention per head, so
the fused attention kernel can be used.
"""

from jaxtyping import Float
from torch import Tensor

from eat_lightning.methods.reduction._topk import TopK
from eat_lightning.model.evidence import Evidence
from eat_lightning.model.method import method
from eat_lightning.model.packed import Packed


@method("reduction")
class ClsTopK(TopK):
    """Drops `ratio` of the non-[CLS] tokens after each of `layers` (or a list with one for each).

    Args:
        protect_sep: [SEP] tokens are always kept, and count among the kept tokens.
    """

    protect_sep: bool = True

    needs = frozenset({"cls"})

    def score(self, packed: Packed, evidence: Evidence) -> Float[Tensor, " n"]:
        if not self.protect_sep:
            return evidence.cls_N
        return evidence.cls_N.masked_fill(packed.special_N, float("inf"))
