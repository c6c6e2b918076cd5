"""Dense attention: everybody sees everybody (Vaswani et al. 2017)."""

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from eat_lightning.methods.attention._varlen import there, varlen_attention
from eat_lightning.model.contracts import Attention, Kernel, Where
from eat_lightning.model.packed import Layout
from eat_lightning.model.shape import Shape


class Dense(Attention):
    def sees(self, q: Where, k: Where) -> Bool[Tensor, "..."]:
        return torch.ones_like(q.index == k.index)

    def sees_all(self, longest: int, layer: int) -> bool:
        return True

    def kernel(self, layout: Layout, layer: int) -> Kernel | None:
        """Without a padded block, on a device where that is faster and where lengths differ."""
        packs = layout.device.type == "cuda" and not layout.even and there()
        return varlen_attention if packs else None

    def flops(self, shape: Shape, layer: int, tokens_B: np.ndarray) -> np.ndarray:
        return 4.0 * shape.attention_width * tokens_B**2
