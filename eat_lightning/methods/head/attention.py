"""FastBERT's student classifier (Liu et al. 2020): a small self-attention layer over all vectors of
an example, before pooling and classification.

The vectors are first projected to a smaller width (768 to 128 in the paper), so that a head costs
little compared with a layer: tanh(x W), self-attention of 2 heads, pool, tanh(x V), classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from eat_lightning.model.contracts import Head
from eat_lightning.model.heads import POOLS, Pool
from eat_lightning.model.masks import with_key_weights
from eat_lightning.model.method import method
from eat_lightning.model.packed import Packed
from eat_lightning.model.shape import Shape
from eat_lightning.validation import Count


@method("head")
class AttentionHead(Head):
    """Classifier with a self-attention layer before pooling.

    Args:
        pool: "cls" or "mean", after the attention.
        width: width of the attention.
        num_heads: heads of the attention.
    """

    pool: Pool = "cls"
    width: Count = 128
    num_heads: Count = 2

    changes_width = True

    def rules(self, num_layers: int | None) -> Iterable[str]:
        if self.width % self.num_heads:
            yield f"head.num_heads must divide width={self.width}, got {self.num_heads}"

    def bind(self, shape: Shape, exits: Sequence[int], num_labels: int) -> None:
        self.narrow = nn.Linear(shape.hidden_size, self.width)
        self.qkv = nn.Linear(self.width, 3 * self.width)
        self.mix = nn.Linear(self.width, self.width)
        self.out = nn.Linear(self.width, self.width)
        self.dropout = nn.Dropout(shape.dropout)
        self.classes = nn.Linear(self.width, num_labels)

    def _attended(self, packed: Packed) -> Packed:
        """The narrow vectors after every one has seen all of its example."""
        layout = packed.layout
        qkv_N = self.qkv(torch.tanh(self.narrow(packed.x_ND)))
        qkv = layout.pad(qkv_N.unflatten(-1, (3, self.num_heads, -1)))
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        real = None if layout.even else layout.real_BL[:, None, None, :]
        mask = with_key_weights(packed, real)
        if mask is not None and mask.dtype != torch.bool:
            mask = mask.to(q.dtype)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return packed.with_x(self.mix(layout.unpad(mixed.transpose(1, 2).flatten(2))))

    def pooled(self, packed: Packed) -> Float[Tensor, "b w"]:
        return torch.tanh(self.out(POOLS[self.pool](self._attended(packed))))

    def guess(self, pooled_BW: Float[Tensor, "b w"]) -> Float[Tensor, "b c"]:
        """Calibrated logits."""
        return self.classes(self.dropout(pooled_BW)) / self.temperature

    def flops(self, shape: Shape, num_labels: int, tokens_B: np.ndarray) -> np.ndarray:
        """Cost of one guess, which rises with the tokens that are left; pooling is left out."""
        width = self.width
        projections_B = tokens_B * (shape.hidden_size * width + 4 * width**2)
        return 2.0 * (projections_B + 2 * tokens_B**2 * width + width**2 + width * num_labels)
