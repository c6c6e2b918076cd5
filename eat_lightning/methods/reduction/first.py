"""Keep the first tokens: truncation as a baseline, since texts often start with what they are
about.

At layer 0 it truncates the text itself, and the removed tokens cost nothing.
"""

from jaxtyping import Float
from torch import Tensor

from eat_lightning.methods.reduction._topk import FromEmbedding, TopK
from eat_lightning.model.evidence import Evidence
from eat_lightning.model.method import method
from eat_lightning.model.packed import Packed


@method("reduction")
class First(TopK):
    """Drops the last `ratio` of the non-[CLS] tokens after each of `layers` (or a list with one for
    each; layer 0 is the embedding)."""

    layers: FromEmbedding = (2, 4)

    def score(self, packed: Packed, evidence: Evidence) -> Float[Tensor, " n"]:
        return -packed.position_N.float()
