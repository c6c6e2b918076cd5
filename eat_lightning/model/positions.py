"""Relative positions in attention: T5's bias, rotary embeddings, and DeBERTa's own scores.

A backbone names its part in `Shape.relative`; BERT, which adds positions to the embedding, has
none. Distances are between original positions, so that pruning does not move a token.

Shapes: B examples, L longest length, N packed tokens, D width, H heads, K head width, R rows of
relative positions.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from eat_lightning.model.packed import Packed
from eat_lightning.model.shape import Shape


class Distance(nn.Module):
    """The base class of a backbone's part for relative positions. Each hook does nothing here."""

    adds = False  # it adds to attention scores, which a pattern's own product cannot do
    per_head = False  # it has weights for each head, so no head can be left out

    def rotated(
        self, qkv_N3HK: Float[Tensor, "n 3 h k"], packed: Packed, number: int
    ) -> Float[Tensor, "n 3 h k"]:
        """Return queries, keys and values with queries and keys rotated or scaled for layer
        `number` (1-based)."""
        return qkv_N3HK

    def bias(self, packed: Packed) -> Float[Tensor, "b h l l"] | None:
        """Return the term that all layers add to their attention scores, or None."""
        return None

    def scores(
        self,
        q: Float[Tensor, "b h l k"],
        k: Float[Tensor, "b h l k"],
        packed: Packed,
        project: Callable[[Tensor], Tensor],
    ) -> Float[Tensor, "b h l l"] | None:
        """Return the term that one layer adds to its attention scores, or None.

        Args:
            q, k: queries and keys of the layer, padded.
            project: the layer's linear map from vectors to queries, keys and values.
        """
        return None

    def tables(self) -> dict[str, Tensor]:
        """Return the buffers that follow from the sizes alone, by name. No file holds them."""
        return {}

    def register_tables(self) -> None:
        for name, table in self.tables().items():
            self.register_buffer(name, table, persistent=False)

    def flops(self, shape: Shape, tokens_B: Any, lengths_B: Any) -> Any:
        """Return the FLOPs of this part for each example in a layer, matrix products only.

        Args:
            shape: sizes of the layer.
            tokens_B: tokens that enter the layer.
            lengths_B: tokens before any reduction.
        """
        return 0.0 * tokens_B


class RelativeBias(Distance):
    """T5's bucketed relative-position bias, one per head, as MPNet uses it (Raffel et al. 2020)."""

    adds = True
    per_head = True
    bucket: Tensor

    def __init__(self, shape: Shape):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(shape.relative_buckets, shape.num_heads))
        self.zero = shape.max_positions - 1  # the row of distance 0
        self.register_tables()

    def tables(self) -> dict[str, Tensor]:
        distance = torch.arange(-self.zero, self.zero + 1)
        return {"bucket": relative_bucket(distance, len(self.weight))}

    def bias(self, packed: Packed) -> Float[Tensor, "b h l l"]:
        position_BL = packed.layout.pad(packed.position_N)
        distance_BLL = position_BL[:, None, :] - position_BL[:, :, None]
        bucket_BLL = self.bucket[distance_BLL + self.zero]
        return F.embedding(bucket_BLL, self.weight).permute(0, 3, 1, 2)


class Rotary(Distance):
    """RoPE (Su et al. 2021): dimension k of a head is rotated together with k + K / 2. Local layers
    may have a base of their own (ModernBERT, Warner et al. 2024, section 2.1.1)."""

    def __init__(self, shape: Shape):
        super().__init__()
        self.half_width = shape.width_of_head // 2
        self.base, self.local_base = shape.rotary_base, shape.local_rotary_base
        self.local_layers = frozenset(shape.local_layers)

    def rotated(
        self, qkv_N3HK: Float[Tensor, "n 3 h k"], packed: Packed, number: int
    ) -> Float[Tensor, "n 3 h k"]:
        base = self.local_base if number in self.local_layers else self.base
        cos, sin = packed.layout.cached(("rotary", base), lambda: self.angles(packed, base))
        qk_N2HK = qkv_N3HK[:, :2]
        rotated = torch.addcmul(qk_N2HK * cos, qk_N2HK.roll(self.half_width, -1), sin)
        return torch.cat([rotated.to(qkv_N3HK.dtype), qkv_N3HK[:, 2:]], 1)

    def angles(self, packed: Packed, base: float) -> tuple[Tensor, Tensor]:
        """Return cosine and sine for each dimension of a head, (N, 1, 1, K), the sine negative in
        the first half. They are fp32 even for bf16 weights, since bf16 cannot tell most of 8,192
        positions apart."""
        place = torch.arange(self.half_width, dtype=torch.float32, device=packed.layout.device)
        speed_K = 1.0 / base ** (place / self.half_width)
        angle_NK = packed.position_N[:, None].float() * speed_K
        cos_NK, sin_NK = angle_NK.cos(), angle_NK.sin()
        cos_NK, sin_NK = torch.cat([cos_NK, cos_NK], -1), torch.cat([-sin_NK, sin_NK], -1)
        return cos_NK[:, None, None], sin_NK[:, None, None]


class Disentangled(Distance):
    """DeBERTa's disentangled attention (He et al. 2021, equation 4): content-to-position and
    position-to-content scores are added to those of content. Layers share the embedding of relative
    positions, which is normed and has logarithmic buckets, and project it with their own queries
    and keys (He et al. 2023, DeBERTaV3).

    Only the rows of distances that occur in the texts are projected: a few dozen of 512 for a
    sentence.
    """

    adds = True
    bucket: Tensor
    scale: Tensor

    def __init__(self, shape: Shape):
        super().__init__()
        self.span, self.zero = shape.relative_buckets, shape.max_positions - 1
        self.weight = nn.Parameter(torch.zeros(2 * self.span, shape.hidden_size))
        self.norm = nn.LayerNorm(shape.hidden_size, eps=shape.eps)
        self.dropout = nn.Dropout(shape.dropout)
        self.register_tables()
        with torch.device("cpu"):  # the row of each distance, on the host
            self.rows_up_to: list[int] = self.tables()["bucket"][self.zero :].tolist()

    def tables(self) -> dict[str, Tensor]:
        distance = torch.arange(-self.zero, self.zero + 1)
        bucket = self.span + log_bucket(distance, self.span, self.zero + 1)
        scale = torch.tensor([3**-0.5, 1.0, 1.0]).view(1, 3, 1, 1)  # three kinds of scores
        return {"bucket": bucket.clamp(0, 2 * self.span - 1), "scale": scale}

    def rotated(
        self, qkv_N3HK: Float[Tensor, "n 3 h k"], packed: Packed, number: int
    ) -> Float[Tensor, "n 3 h k"]:
        return qkv_N3HK * self.scale.to(qkv_N3HK.dtype)

    def scores(
        self,
        q: Float[Tensor, "b h l k"],
        k: Float[Tensor, "b h l k"],
        packed: Packed,
        project: Callable[[Tensor], Tensor],
    ) -> Float[Tensor, "b h l l"]:
        layout, (low, high) = packed.layout, self.rows(packed)
        place_BHLL = layout.cached(("disentangled", low), lambda: self.places(packed, low))
        place_BHLL = place_BHLL.expand(-1, q.shape[1], -1, -1)
        normed_RD = layout.cached("relative", lambda: self.normed(self.weight[low:high]))
        row_R3HK = project(self.dropout(normed_RD)).unflatten(-1, (3, q.shape[1], -1))
        q_of_row, k_of_row, _ = (row_R3HK * self.scale.to(row_R3HK.dtype)).permute(1, 2, 3, 0)
        content_BHLL = (q @ k_of_row).gather(-1, place_BHLL)
        place_BHLL = place_BHLL.transpose(-1, -2)
        position_BHLL = (k @ q_of_row).gather(-1, place_BHLL).transpose(-1, -2)
        return (content_BHLL + position_BHLL) / math.sqrt(q.shape[-1])

    def normed(self, row_RD: Float[Tensor, "r d"]) -> Float[Tensor, "r d"]:
        norm = self.norm  # not called: hooks that count work refuse a parameter as an input
        return F.layer_norm(row_RD, norm.normalized_shape, norm.weight, norm.bias, norm.eps)

    def rows(self, packed: Packed) -> tuple[int, int]:
        """Return the range of rows whose distances can occur: first, and last + 1."""
        longest = packed.span
        if longest is None:
            return 0, 2 * self.span
        high = self.rows_up_to[longest - 1]
        return max(2 * self.span - high, 0), high + 1

    def places(self, packed: Packed, low: int) -> Int[Tensor, "b 1 l l"]:
        """Return the row of the distance of each query and key, counted from row `low`."""
        position_BL = packed.layout.pad(packed.position_N)
        distance_BLL = position_BL[:, :, None] - position_BL[:, None, :]
        return (self.bucket[distance_BLL + self.zero] - low)[:, None]

    def flops(self, shape: Shape, tokens_B: Any, lengths_B: Any) -> Any:
        """Count the projection of the rows, and their products with queries and keys."""
        highs = torch.tensor(self.rows_up_to).numpy()[lengths_B - 1]
        rows_B = highs + 1.0 - (2 * self.span - highs).clip(0)
        projected_B = 6.0 * rows_B * shape.hidden_size * shape.attention_width
        return projected_B + 4.0 * rows_B * tokens_B * shape.attention_width


DISTANCES: dict[str, type[Distance]] = {
    "bias": RelativeBias,
    "rotary": Rotary,
    "disentangled": Disentangled,
}


def relative_bucket(
    distance: Int[Tensor, ...], num_buckets: int, max_distance: int = 128
) -> Int[Tensor, ...]:
    """Return T5's bucket of key position - query position: half of the buckets for each sign, exact
    for near distances and logarithmic for far ones."""
    half = num_buckets // 2
    exact = half // 2
    far = distance.abs().clamp(min=1).float()
    growth = torch.log(far / exact) / math.log(max_distance / exact) * (half - exact)
    bucket = torch.where(distance.abs() < exact, distance.abs(), exact + growth.long())
    return bucket.clamp(max=half - 1) + (distance > 0).long() * half


def log_bucket(
    distance: Int[Tensor, ...], num_buckets: int, max_positions: int
) -> Int[Tensor, ...]:
    """Return DeBERTa-v2's signed bucket of query position - key position: exact up to half of the
    buckets, logarithmic up to `max_positions`. The order of operations is that of transformers,
    since the ceiling can turn a rounding error into another bucket."""
    mid = num_buckets // 2
    far = torch.where(distance.abs() < mid, mid - 1, distance.abs())
    whole = torch.log(torch.tensor((max_positions - 1) / mid))
    growth = torch.ceil(torch.log(far / mid) / whole * (mid - 1)) + mid
    return torch.where(far <= mid, distance, growth * distance.sign()).long()
