"""Dense attention: everybody sees everybody (Vaswani et al. 2017)."""

import torch
from jaxtyping import Bool
from torch import Tensor

from eat_lightning.slots import Where


class Dense:
    @classmethod
    def faults(cls, num_layers: int | None) -> list[str]:
        return []

    def sees(self, q: Where, k: Where) -> Bool[Tensor, "..."]:
        return torch.ones_like(q.index == k.index)

    def sees_all(self, longest: int, layer: int) -> bool:
        return True
