"""Dense attention: every token attends to every token (Vaswani et al. 2017)."""

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from eat_lightning.model.contracts import Attention, Where
from eat_lightning.model.shape import Shape


class Dense(Attention):
    def sees(self, q: Where, k: Where) -> Bool[Tensor, "..."]:
        return torch.ones_like(q.index == k.index)

    def sees_all(self, longest: int, layer: int) -> bool:
        return True

    def flops(self, shape: Shape, layer: int, tokens_B: np.ndarray) -> np.ndarray:
        return 4.0 * shape.attention_width * tokens_B**2
