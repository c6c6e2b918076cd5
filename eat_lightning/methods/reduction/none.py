"""No reduction: every token stays."""

from eat_lightning.model.evidence import Evidence
from eat_lightning.model.packed import Packed


class Keep:
    place = "after_layer"
    needs: frozenset[str] = frozenset()
    layers: tuple[int, ...] = ()

    def __call__(self, packed: Packed, evidence: Evidence, layer: int) -> Packed:
        return packed
