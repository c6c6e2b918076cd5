"""Window attention that computes only the band of near tokens, and the row and column of [CLS] if
it is global (Beltagy et al. 2020).

The tokens of an example are cut into blocks of queries. A block is multiplied with the keys in the
window of any of its queries, and with [CLS]. So L tokens cost about L x (block + 2 half_window + 1)
pairs instead of L x L, in plain torch: each block is one more example of the fused product, and no
example is padded to another's length.

There are two kinds of window. That of `attention=longformer` counts the remaining rows, and [CLS]
is global. A backbone's own (ModernBERT, Warner et al. 2024, section 2.1.1) counts positions of the
original text, so that a token sees after pruning what it saw in training, and dropping a row equals
hiding it; its functions have "near" in their names.

Shapes: B examples, N packed tokens, H heads, K head width, G blocks of all examples, Q queries of
a block, S keys that a block is multiplied with (Q + 2 half_window, one more with [CLS]).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from eat_lightning.model.contracts import Attention, Kernel
from eat_lightning.model.evidence import MATRIX
from eat_lightning.model.packed import Layout, Packed

CHUNK = 64  # blocks at once: a buffer that the allocator keeps; one of all blocks is new memory
PAYS = 0.4  # a local band is cut out where it holds at most this share of all pairs
BLOCK = 32  # at least; 64 and 128 were slower at every length tried (window 32, one thread)


@dataclass(frozen=True)
class Band:
    """The blocks of all examples.

    Args:
        queries_GQ: packed row of each query.
        keys_GS: packed row of each key.
        seen_GQS: whether a query sees a key.
        place_N: where each packed row is among all queries.
    """

    queries_GQ: Int[Tensor, "g q"]
    keys_GS: Int[Tensor, "g s"]
    seen_GQS: Bool[Tensor, "g q s"]
    place_N: Int[Tensor, " n"]


def banded_attention(
    qkv_N3HK: Float[Tensor, "n 3 h k"], layout: Layout, dropout: float = 0.0, *, half_window: int
) -> Float[Tensor, "n h k"]:
    """Return softmax attention in which two tokens see each other if they are at most `half_window`
    rows apart, or one of them is the first of their example."""
    band = layout.cached(("band", half_window), lambda: band_of(layout, half_window))
    mixed_NHK = attention_of_band(qkv_N3HK, band, dropout)
    cls_BHK = attention_of_cls(qkv_N3HK, layout, dropout)
    return mixed_NHK.index_copy_(0, layout.offsets_B, cls_BHK)


def near_attention(
    qkv_N3HK: Float[Tensor, "n 3 h k"],
    layout: Layout,
    dropout: float = 0.0,
    *,
    half_window: int,
    position_N: Int[Tensor, " n"],
) -> Float[Tensor, "n h k"]:
    """Return softmax attention in which tokens at most `half_window` positions apart see each
    other. Positions grow along an example. The first token is treated like any other."""
    band = layout.cached(("near", half_window), lambda: near_band(layout, half_window, position_N))
    return attention_of_band(qkv_N3HK, band, dropout)


def attention_of_band(
    qkv_N3HK: Float[Tensor, "n 3 h k"], band: Band, dropout: float
) -> Float[Tensor, "n h k"]:
    """Return the attention output of each packed row over the keys of its block that it sees."""
    parts = band.queries_GQ, band.keys_GS, band.seen_GQS
    if isinstance(band.queries_GQ.shape[0], int):
        split = zip(*(x.split(CHUNK) for x in parts), strict=True)
        mixed = torch.cat([attention_of_blocks(qkv_N3HK, q, k, s, dropout) for q, k, s in split])
    else:  # a trace for export, in which the number of blocks is a symbol
        mixed = attention_of_blocks(qkv_N3HK, *parts, dropout)
    return mixed.flatten(0, 1).index_select(0, band.place_N)


def attention_of_blocks(
    qkv_N3HK: Float[Tensor, "n 3 h k"],
    queries_GQ: Int[Tensor, "g q"],
    keys_GS: Int[Tensor, "g s"],
    seen_GQS: Bool[Tensor, "g q s"],
    dropout: float,
) -> Float[Tensor, "g q h k"]:
    """Return the attention output of some blocks, each one example of the fused product."""
    heads = qkv_N3HK.shape[2:]
    q = qkv_N3HK[:, 0].index_select(0, queries_GQ.flatten()).view(*queries_GQ.shape, *heads)
    kv = qkv_N3HK[:, 1:].index_select(0, keys_GS.flatten()).view(*keys_GS.shape, 2, *heads)
    k, v = kv.permute(2, 0, 3, 1, 4)
    mixed = F.scaled_dot_product_attention(
        q.transpose(1, 2), k, v, attn_mask=seen_GQS[:, None], dropout_p=dropout
    )
    return mixed.transpose(1, 2)


def attention_of_cls(
    qkv_N3HK: Float[Tensor, "n 3 h k"], layout: Layout, dropout: float
) -> Float[Tensor, "b h k"]:
    """Return the attention output of each example's first token over all its tokens: one row of the
    product."""
    q, k, v = qkv_N3HK.unbind(1)
    asks = q.index_select(0, layout.offsets_B).index_select(0, layout.segment_N)
    scores_NH = (asks.float() * k.float()).sum(-1) / math.sqrt(q.shape[-1])
    scores_BLH = layout.pad(scores_NH)
    if not layout.even:
        scores_BLH = scores_BLH.masked_fill(~layout.real_BL[:, :, None], float("-inf"))
    weights_NH = layout.unpad(F.dropout(scores_BLH.softmax(1), dropout, training=dropout > 0))
    mixed = torch.zeros(layout.size, *v.shape[1:], device=v.device)
    mixed = mixed.index_add(0, layout.segment_N, weights_NH[..., None] * v.float())
    return mixed.to(v.dtype)


def block_length(half_window: int) -> int:
    """Return the number of queries of a block."""
    return max(BLOCK, half_window // 2)


@dataclass(frozen=True)
class Blocks:
    """The tokens of each example in blocks of equal length, the last one filled up.

    Args:
        size: tokens of a block.
        start_G: index of a block's first token in its example.
        length_G1: number of tokens of that example.
        row_G1: its first packed row.
        place_N: where each packed row is among the tokens of all blocks.
    """

    size: int
    start_G: Int[Tensor, " g"]
    length_G1: Int[Tensor, "g 1"]
    row_G1: Int[Tensor, "g 1"]
    place_N: Int[Tensor, " n"]

    def reach(self, before: int, after: int) -> Int[Tensor, "g s"]:
        """Return the indices, in each block's example, of the block's tokens and of `before` tokens
        in front of it and `after` tokens following it. Some lie outside the example."""
        device = self.start_G.device
        return self.start_G[:, None] + torch.arange(-before, self.size + after, device=device)

    def rows(self, index_GS: Int[Tensor, "g s"]) -> Int[Tensor, "g s"]:
        """Return the packed rows of indices in each block's example, the nearest for one outside
        it."""
        return self.row_G1 + torch.minimum(index_GS.clamp(min=0), self.length_G1 - 1)


def blocks_of(layout: Layout, block: int) -> Blocks:
    """Cut the tokens of each example into blocks of `block` tokens."""
    device, blocks_B = layout.device, -(-layout.lengths_B // block)
    num_blocks: Any = blocks_B.sum().item()
    number_G = torch.arange(num_blocks, device=device)
    end_B = layout.there(blocks_B.cumsum(0))
    example_G = (number_G[:, None] >= end_B).sum(1)  # ONNX has no repeat_interleave
    first_B = end_B - layout.there(blocks_B)  # each example's first block
    start_G = (number_G - first_B[example_G]) * block
    length_G1 = layout.there(layout.lengths_B)[example_G, None]
    place_N = first_B[layout.segment_N] * block + layout.index_N
    return Blocks(block, start_G, length_G1, layout.offsets_B[example_G, None], place_N)


def band_of(layout: Layout, half_window: int) -> Band:
    """Return the band of a window over the remaining rows, in which all queries see [CLS]."""
    blocks = blocks_of(layout, block_length(half_window))
    queries_GQ = blocks.reach(0, 0)
    keys_GS = F.pad(blocks.reach(half_window, half_window), (1, 0))  # [CLS] is the first key
    seen_GQS = (queries_GQ[:, :, None] - keys_GS[:, None]).abs() <= half_window
    seen_GQS &= ((keys_GS > 0) & (keys_GS < blocks.length_G1))[:, None]
    seen_GQS[:, :, 0] = True
    return Band(blocks.rows(queries_GQ), blocks.rows(keys_GS), seen_GQS, blocks.place_N)


def near_band(layout: Layout, half_window: int, position_N: Int[Tensor, " n"]) -> Band:
    """Return the band of a window over positions of the original text. Rows that are near in the
    text are at least as near in the rows that remain, so the band holds all of them. Keys that only
    pruning brought near are hidden. A query that fills up the last block sees the example's last
    token, since softmax over no key would be NaN."""
    blocks = blocks_of(layout, block_length(half_window))
    index_GS = blocks.reach(half_window, half_window)
    queries_GQ, keys_GS = blocks.rows(blocks.reach(0, 0)), blocks.rows(index_GS)
    apart_GQS = position_N[queries_GQ][:, :, None] - position_N[keys_GS][:, None]
    there_GS = (index_GS >= 0) & (index_GS < blocks.length_G1)
    seen_GQS = (apart_GQS.abs() <= half_window) & there_GS[:, None]
    return Band(queries_GQ, keys_GS, seen_GQS, blocks.place_N)


def near_pairs(lengths: Any, half_window: int) -> Any:
    """Count the query-key pairs that `near_attention` computes, as `pairs` does."""
    block = block_length(half_window)
    return -(-lengths // block) * block * (block + 2 * half_window)


def pairs(lengths: Any, half_window: int) -> Any:
    """Count the query-key pairs that `banded_attention` computes for an example.

    Args:
        lengths: number of tokens, or an array of numbers.
    """
    block = block_length(half_window)
    return -(-lengths // block) * block * (1 + block + 2 * half_window) + lengths


def local_kernel(
    packed: Packed,
    pattern: Attention,
    layer: int,
    half_window: int,
    longest: int,
    needs: frozenset[str],
) -> Kernel | None:
    """Return the banded product of a backbone's own window, or None where it would not be faster or
    cannot be used: with a pattern that hides more, with weights of keys, with evidence about every
    query, or after a merge, which can break the order of positions."""
    hides = pattern.approximate or not pattern.sees_all(longest, layer)
    merged = packed.weight_N is not None or packed.size_N is not None
    if hides or merged or needs & MATRIX or near_pairs(longest, half_window) > PAYS * longest**2:
        return None
    return partial(near_attention, half_window=half_window, position_N=packed.position_N)
