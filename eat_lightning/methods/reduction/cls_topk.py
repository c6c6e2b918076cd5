"""Keep the tokens that [CLS] attends to most (EViT, Liang et al. 2022), [SEP] protected or not.

It needs one attention row per head, so the fused attention kernel stays in use.
"""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor

from eat_lightning.bounds import raise_faults, switch_faults
from eat_lightning.methods.reduction._topk import TopK
from eat_lightning.model.evidence import Evidence
from eat_lightning.model.packed import Packed


class ClsTopK(TopK):
    """Drops `ratio` of the non-[CLS] tokens after each of `layers` (a list: one for each).

    protect_sep: [SEP] tokens outrank all others; they count among the tokens kept.
    """

    needs = frozenset({"cls"})

    def __init__(
        self,
        ratio: float | Sequence[float] = 0.3,
        layers: Sequence[int] = (2, 4),
        protect_sep: bool = True,
    ):
        raise_faults(self.faults(None, ratio=ratio, layers=layers, protect_sep=protect_sep))
        self.ratio, self.layers, self.protect_sep = ratio, list(layers), protect_sep

    @classmethod
    def faults(
        cls,
        num_layers: int | None,
        ratio: float | Sequence[float] = 0.3,
        layers: Sequence[int] = (2, 4),
        protect_sep: bool = True,
    ) -> list[str]:
        faults = super().faults(num_layers, ratio, layers)
        return [*faults, *switch_faults("reduction.protect_sep", protect_sep)]

    def score(self, packed: Packed, evidence: Evidence) -> Float[Tensor, " n"]:
        assert evidence.cls_N is not None
        if not self.protect_sep:
            return evidence.cls_N
        return evidence.cls_N.masked_fill(packed.special_N, float("inf"))
