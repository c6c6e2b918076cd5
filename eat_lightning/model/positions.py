"""How the distance of two tokens enters attention: a bias, a turn, or scores of its own.

A backbone names its part in `Shape.relative`; BERT, whose positions are added to the embedding, has
none. Distances are those of original positions, so that pruning does not move a token.

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
    """The contract, and a part that does nothing.

    adds: it adds to the scores, for which a pattern's own product has no place. per_head: it has a
    weight for each head, so that no head can be left out.
    """

    adds = False
    per_head = False

    def rotated(
        self, qkv_N3HK: Float[Tensor, "n 3 h k"], packed: Packed, number: int
    ) -> Float[Tensor, "n 3 h k"]:
        """Queries and keys as layer `number` multiplies them."""
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
        """Return the term that one layer adds to its attention scores, or None. `project`: gives
        the layer's queries, keys and values of rows."""
        return None

    def tables(self) -> dict[str, Tensor]:
        """The buffers that follow from sizes alone, by name: no file holds them."""
        return {}

    def flops(self, shape: Shape, tokens_B: Any, lengths_B: Any) -> Any:
        """FLOPs of this part for each example in a layer, matrix products only. lengths_B: tokens
        before any reduction."""
        return 0.0 * tokens_B


class RelativeBias(Distance):
    """T5's bucketed relative-position bias, one per head, as MPNet uses it (Raffel et al. 2020)."""

    adds = True
    per_head = True
    bucket: Tensor

    def __init__(self, shape: Shape):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(shape.relative_buckets, shape.num_heads))
        self.zero = shape.max_positions - 1
        register(self)

    def tables(self) -> dict[str, Tensor]:
        distance = torch.arange(-self.zero, self.zero + 1)
        return {"bucket": relative_bucket(distance, len(self.weight))}

    def bias(self, packed: Packed) -> Float[Tensor, "b h l l"]:
        position_BL = packed.layout.pad(packed.position_N)
        distance_BLL = position_BL[:, None, :] - position_BL[:, :, None]
        bucket_BLL = self.bucket[distance_BLL + self.zero]
        return F.embedding(bucket_BLL, self.weight).permute(0, 3, 1, 2)


class Rotary(Distance):
    """RoPE (Su et al. 2021): queries and keys turned by their positions, place k of a head together
    with place k + K / 2. Local layers may turn by a base of their own (ModernBERT, Warner et al.
    2024, section 2.1.1)."""

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
        """Cosine and sine for each place of a head, (N, 1, 1, K), in fp32 also where weights are
        bf16, which tells few of 8,192 positions apart; the sine has the sign of its half."""
        place = torch.arange(self.half_width, dtype=torch.float32, device=packed.layout.device)
        speed_K = 1.0 / base ** (place / self.half_width)
        angle_NK = packed.position_N[:, None].float() * speed_K
        cos_NK, sin_NK = angle_NK.cos(), angle_NK.sin()
        cos_NK, sin_NK = torch.cat([cos_NK, cos_NK], -1), torch.cat([-sin_NK, sin_NK], -1)
        return cos_NK[:, None, None], sin_NK[:, None, None]


class Disentangled(Distance):
    """DeBERTa's disentangled attention (He et al. 2021, equation 4): scores of content with
    relative position and of relative position with content beside those of content. Layers share
    the embedding of relative positions (in logarithmic buckets, normed) and project it by their own
    queries and keys (He et al. 2023, DeBERTaV3).

    Only rows of distances that the texts have are projected: some dozens for a sentence, of 512.
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
        register(self)
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
        """The first row of the distances that may be there, and behind the last."""
        longest = packed.span
        if longest is None:
            return 0, 2 * self.span
        high = self.rows_up_to[longest - 1]
        return max(2 * self.span - high, 0), high + 1

    def places(self, packed: Packed, low: int) -> Int[Tensor, "b 1 l l"]:
        """Look up for each query and key the row of their distance, among those from `low` on."""
        position_BL = packed.layout.pad(packed.position_N)
        distance_BLL = position_BL[:, :, None] - position_BL[:, None, :]
        return (self.bucket[distance_BLL + self.zero] - low)[:, None]

    def flops(self, shape: Shape, tokens_B: Any, lengths_B: Any) -> Any:
        """Rows projected, and the products of queries and keys with them."""
        highs = torch.tensor(self.rows_up_to).numpy()[lengths_B - 1]
        rows_B = highs + 1.0 - (2 * self.span - highs).clip(0)
        projected_B = 6.0 * rows_B * shape.hidden_size * shape.attention_width
        return projected_B + 4.0 * rows_B * tokens_B * shape.attention_width


def register(part: Distance) -> None:
    for name, table in part.tables().items():
        part.register_buffer(name, table, persistent=False)


DISTANCES: dict[str, type[Distance]] = {
    "bias": RelativeBias,
    "rotary": Rotary,
    "disentangled": Disentangled,
}


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


def log_bucket(
    distance: Int[Tensor, ...], num_buckets: int, max_positions: int
) -> Int[Tensor, ...]:
    """Query position - key position -> bucket with the distance's sign: exact up to half of the
    buckets, logarithmic up to `max_positions` (DeBERTa-v2). In the order of transformers'
    operations, since a ceiling turns a last bit into a bucket."""
    mid = num_buckets // 2
    far = torch.where(distance.abs() < mid, mid - 1, distance.abs())
    whole = torch.log(torch.tensor((max_positions - 1) / mid))
    growth = torch.ceil(torch.log(far / mid) / whole * (mid - 1)) + mid
    return torch.where(far <= mid, distance, growth * distance.sign()).long()
