"""Dense attention of packed rows on a CUDA device, without a padded block: PyTorch's product for
variable lengths (FlashAttention, Dao 2023), which takes where each example begins.

Shapes: B examples, N packed tokens, H heads, K head width.
"""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from eat_lightning.model.packed import Layout

TAKES = (torch.bfloat16, torch.float16)  # and no dropout; the rest goes through a padded block


@cache
def there() -> bool:
    return find_spec("torch.nn.attention.varlen") is not None


def varlen_attention(
    qkv_N3HK: Float[Tensor, "n 3 h k"], layout: Layout, dropout: float
) -> Float[Tensor, "n h k"]:
    if dropout or qkv_N3HK.dtype not in TAKES or qkv_N3HK.shape[-1] % 8:
        return padded_attention(qkv_N3HK, layout, dropout)
    from torch.nn.attention.varlen import varlen_attn

    q, k, v = (part.contiguous() for part in qkv_N3HK.unbind(1))
    begins = layout.cached("begins", lambda: begins_of(layout))
    mixed = varlen_attn(q, k, v, begins, begins, layout.longest, layout.longest)
    assert isinstance(mixed, Tensor)
    return mixed


def padded_attention(
    qkv_N3HK: Float[Tensor, "n 3 h k"], layout: Layout, dropout: float
) -> Float[Tensor, "n h k"]:
    q, k, v = layout.pad(qkv_N3HK).permute(2, 0, 3, 1, 4)
    seen = None if layout.even else layout.real_BL[:, None, None, :]
    mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=seen, dropout_p=dropout)
    return layout.unpad(mixed.transpose(1, 2))


def begins_of(layout: Layout) -> Int[Tensor, " b_and_1"]:
    """The first row of each example, and behind the last one the number of rows."""
    ends_B = layout.lengths_B.cumsum(0)
    return F.pad(ends_B, (1, 0)).int().to(layout.device, non_blocking=True)
