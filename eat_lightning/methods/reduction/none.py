"""No reduction: every token stays."""

from eat_lightning.model.contracts import Reduction
from eat_lightning.model.evidence import Evidence
from eat_lightning.model.packed import Packed


class Keep(Reduction):
    layers = ()

    def __call__(self, packed: Packed, evidence: Evidence, layer: int) -> Packed:
        return packed
