"""Who sees whom, as a mask for the padded block: patterns, relative positions, weights of keys.

Shapes: B examples, L longest length, N packed tokens, H heads.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from eat_lightning.model.contracts import Pattern, Where
from eat_lightning.model.packed import Packed


class RelativeBias(nn.Module):
    """T5's bucketed relative-position bias, one per head, as MPNet uses it."""

    bucket: Tensor

    def __init__(self, num_buckets: int, num_heads: int, max_positions: int):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(num_buckets, num_heads))
        self.zero = max_positions - 1
        distance = torch.arange(-self.zero, self.zero + 1)
        self.register_buffer("bucket", relative_bucket(distance, num_buckets), persistent=False)

    def forward(self, packed: Packed) -> Float[Tensor, "b h l l"]:
        """Bias by original positions, so that pruning does not move a token."""
        position_BL = packed.layout.pad(packed.position_N)
        distance_BLL = position_BL[:, None, :] - position_BL[:, :, None]
        bucket_BLL = self.bucket[distance_BLL + self.zero]
        return F.embedding(bucket_BLL, self.weight).permute(0, 3, 1, 2)


def relative_bucket(
    distance: Int[Tensor, ...], num_buckets: int, max_distance: int = 128
) -> Int[Tensor, ...]:
    """Key position - query position -> bucket: half for each sign; exact near, logarithmic far."""
    half = num_buckets // 2
    exact = half // 2
    far = distance.abs().clamp(min=1).float()
    growth = torch.log(far / exact) / math.log(max_distance / exact) * (half - exact)
    bucket = torch.where(distance.abs() < exact, distance.abs(), exact + growth.long())
    return bucket.clamp(max=half - 1) + (distance > 0).long() * half


def attention_mask(
    packed: Packed, pattern: Pattern, layer: int, bias: RelativeBias | None, see_all: bool = False
) -> Tensor | None:
    """Who sees whom as a mask for the padded block: bool, or float where a bias is added, or None
    where nothing is hidden. Built once for each length change and way of seeing. `see_all`: hide
    the padding alone."""
    layout = packed.layout
    see_all = see_all or pattern.sees_all(layout.longest, layer)
    key = "all" if see_all else ("pattern", layer)
    if key not in layout.cache:
        seen = None if layout.even else layout.real_BL[:, None, None, :]
        if not see_all:
            hidden_from = pattern_mask(packed, pattern, layer)
            seen = hidden_from if seen is None else seen & hidden_from
        if bias is not None:
            bias_BHLL = bias(packed)
            seen = bias_BHLL if seen is None else bias_BHLL.masked_fill(~seen, float("-inf"))
        layout.cache[key] = seen
    return layout.cache[key]


def pattern_mask(packed: Packed, pattern: Pattern, layer: int) -> Bool[Tensor, "b 1 l l"]:
    layout = packed.layout
    index = torch.arange(layout.longest, device=layout.device)[None]
    position = layout.pad(packed.position_N)
    length = layout.there(layout.lengths_B)[:, None]
    q = Where(index[..., None], position[..., None], length[..., None], layer)
    k = Where(index[:, None], position[:, None], length[:, None], layer)
    return pattern.sees(q, k)[:, None]


def with_key_weights(packed: Packed, mask: Tensor | None) -> Tensor | None:
    """The mask with the log weight of each key added to every query's scores. Not cached: a soft
    gate changes at each layer while lengths stay."""
    if packed.weight_N is None:
        return mask
    weight_B11L = packed.layout.pad(packed.weight_N)[:, None, None, :]
    if mask is None:
        return weight_B11L
    if mask.dtype == torch.bool:
        return torch.where(mask, weight_B11L, float("-inf"))
    return mask + weight_B11L
