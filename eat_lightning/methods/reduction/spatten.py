"""SpAtten's cascade token pruning (Wang et al. 2021): the importance of a token is the attention
that it has received so far, s_j = sum over layers, heads and queries i of A_ij. Dropped tokens
never return.

This is one of the paper's three ideas; pruning of heads and of values is not implemented.
"""

from dataclasses import replace

from jaxtyping import Float
from torch import Tensor

from eat_lightning.methods.reduction._topk import TopK
from eat_lightning.model.evidence import Evidence
from eat_lightning.model.method import method
from eat_lightning.model.packed import Packed
from eat_lightning.validation import Layers, Points


@method("reduction")
class SpAtten(TopK):
    """Drops `ratio` of the non-[CLS] tokens between attention and feed-forward of each of `layers`
    (or a list with one for each). Importance is accumulated only at these layers. To accumulate at
    a layer without dropping, give it a ratio of 0."""

    ratio: Points = 0.15
    layers: Layers = (1, 2, 3, 4, 5)

    place = "after_attention"
    needs = frozenset({"received"})

    def score(self, packed: Packed, evidence: Evidence) -> Float[Tensor, " n"]:
        """The mean over heads of what each query gave: ranks as the sum over heads does."""
        before_N = packed.notes.get("importance")
        return evidence.received_N if before_N is None else before_N + evidence.received_N

    def __call__(self, packed: Packed, evidence: Evidence, layer: int) -> Packed:
        importance_N = self.score(packed, evidence)
        notes = {**packed.notes, "importance": importance_N}
        return super().__call__(replace(packed, notes=notes), evidence, layer)

    def export_blockers(self) -> list[str]:
        return ["reduction=spatten adds scores up over layers, and no graph hands them on"]
