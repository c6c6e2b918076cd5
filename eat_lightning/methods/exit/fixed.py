"""Fixed depth: everybody leaves at one layer, whatever they say. What a choice must beat."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from eat_lightning.bounds import layer_faults, raise_faults


class Fixed:
    reasons = ("fixed",)

    def __init__(self, layer: int = 4):
        raise_faults(self.faults(None, layer=layer))
        self.layer = layer
        self.layers: Sequence[int] = [layer]

    @classmethod
    def faults(cls, num_layers: int | None, layer: int = 4) -> list[str]:
        return layer_faults("exit.layer", [layer], num_layers)

    def decides(self, logits_EBC: Float[Tensor, "e b c"]) -> Int[Tensor, " b"]:
        return torch.ones(logits_EBC.shape[1], dtype=torch.int64, device=logits_EBC.device)
