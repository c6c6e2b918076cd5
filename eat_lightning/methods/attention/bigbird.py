"""BigBird (Zaheer et al. 2020): blocks that attend to their neighbours, the first and last block,
and a few random ones.

Tokens are divided into blocks. The first and the last block, with [CLS] and [SEP], attend to all
blocks and all attend to them (the "internal transformer construction"). Every other block attends
to these two, itself, its two neighbours, and `random` further blocks. The cost therefore grows
linearly with the length.

Blocks consist of the remaining tokens, as does Longformer's window. The draw depends on the block's
position, the number of blocks, the layer and `seed`, so it is the same alone and in a batch, in
training and inference. One block is drawn from each of `random` equal segments; the released code
draws from all blocks, and separately for each head.

Weights: it has no parameters. Pretrained dense weights are used, and attend to fewer tokens.
"""

from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from pydantic import NonNegativeInt
from torch import Tensor

from eat_lightning.model.banded import Band, attention_of_band, blocks_of
from eat_lightning.model.contracts import Attention, Kernel, Where
from eat_lightning.model.method import method
from eat_lightning.model.packed import Layout
from eat_lightning.model.shape import Shape
from eat_lightning.validation import Count

PAYS = 0.4  # blocks are cut out where they hold at most this share of all pairs, as for Longformer
PRIME = 2**31 - 1


@method("attention")
class BigBird(Attention):
    """Attention of blocks to neighbouring blocks, both ends and random blocks.

    Args:
        block: tokens per block.
        random: random blocks for each block.
    """

    block: Count = 64
    random: NonNegativeInt = 3
    seed: NonNegativeInt = 0

    def sees(self, q: Where, k: Where) -> Bool[Tensor, "..."]:
        of_q, of_k = q.index // self.block, k.index // self.block
        last = (q.length - 1) // self.block
        seen = ((of_q - of_k).abs() <= 1) | (of_q == 0) | (of_k == 0)
        seen = seen | (of_q == last) | (of_k == last)
        for turn in range(self.random):
            seen = seen | (of_k == self._drawn(of_q, last + 1, turn, q.layer))
        return seen

    def sees_all(self, longest: int, layer: int) -> bool:
        return longest <= (4 + self.random) * self.block  # ends and neighbours, and what is drawn

    def _drawn(
        self, block: Int[Tensor, "..."], num_blocks: Int[Tensor, "..."], turn: int, layer: int
    ) -> Int[Tensor, "..."]:
        """The block that block number `block` sees by its draw number `turn`: of those between the
        ends, without itself and its neighbours. Where they are too few, one that it sees anyway."""
        before = (block - 2).clamp(min=0)  # how many come before its left neighbour
        free = before + (num_blocks - block - 3).clamp(min=0)
        low, high = turn * free // self.random, (turn + 1) * free // self.random
        mixed = scrambled(block + scrambled(turn + 7919 * layer + 104729 * (self.seed + 1)))
        place = low + mixed % (high - low).clamp(min=1)
        chosen = torch.where(place < before, place + 1, place - before + block + 2)
        return torch.where(high > low, chosen, block)

    def kernel(self, layout: Layout, layer: int) -> Kernel | None:
        """The blocks alone, where that is little of all."""
        cut = self._pairs(layout.longest) <= PAYS * layout.longest**2
        return partial(self._product, layer=layer) if cut else None

    def _product(
        self, qkv_N3HK: Float[Tensor, "n 3 h k"], layout: Layout, dropout: float, *, layer: int
    ) -> Float[Tensor, "n h k"]:
        key = ("bigbird", self.block, self.random, self.seed, layer)
        band = layout.cached(key, lambda: self._band(layout, layer))
        mixed_NHK = attention_of_band(qkv_N3HK, band, dropout)
        return with_ends(qkv_N3HK, mixed_NHK, layout, self.block, dropout)

    def _band(self, layout: Layout, layer: int) -> Band:
        """The blocks that each block meets, a block that comes twice hidden the second time."""
        block, blocks = self.block, blocks_of(layout, self.block)
        of_G, num_G = blocks.start_G // block, -(-blocks.length_G1[:, 0] // block)
        met = [0 * of_G, num_G - 1, of_G - 1, of_G, of_G + 1]
        met += [self._drawn(of_G, num_G, turn, layer) for turn in range(self.random)]
        met_GT = torch.stack(met, 1)
        again_GTT = (met_GT[:, :, None] == met_GT[:, None]).tril(-1)
        inner = torch.arange(block, device=layout.device)
        keys_GTQ = met_GT[:, :, None] * block + inner
        seen_GTQ = (keys_GTQ >= 0) & (keys_GTQ < blocks.length_G1[:, :, None])
        seen_GS = (seen_GTQ & ~again_GTT.any(2)[:, :, None]).flatten(1)
        seen_GQS = seen_GS[:, None].expand(-1, block, -1)
        queries_GQ = blocks.rows(blocks.start_G[:, None] + inner)
        return Band(queries_GQ, blocks.rows(keys_GTQ.flatten(1)), seen_GQS, blocks.place_N)

    def _pairs(self, lengths: Any) -> Any:
        """Query-key pairs computed for one example of such a length."""
        filled = -(-lengths // self.block) * self.block
        return filled * self.block * (5 + self.random) + 2 * self.block * lengths

    def flops(self, shape: Shape, layer: int, tokens_B: np.ndarray) -> np.ndarray:
        whole, cut = tokens_B**2, self._pairs(tokens_B)
        return 4.0 * shape.attention_width * np.where(cut <= PAYS * whole, cut, whole)


def scrambled(x: Any) -> Any:
    """A whole number that looks random, of a number or of each in a tensor."""
    for _ in range(2):
        x = x % PRIME
        x = (x * x + 48271 * x + 1) % PRIME
    return x


def with_ends(
    qkv_N3HK: Float[Tensor, "n 3 h k"],
    mixed_NHK: Float[Tensor, "n h k"],
    layout: Layout,
    block: int,
    dropout: float,
) -> Float[Tensor, "n h k"]:
    """The rows of each example's first and last block, which see all, put among the others."""
    inner = torch.arange(block, device=layout.device)
    length_B1 = layout.there(layout.lengths_B)[:, None]
    last_B1 = (length_B1 - 1) // block * block
    places_BE = torch.cat([inner.expand(layout.size, -1), last_B1 + inner], dim=1)
    rows_BE = layout.offsets_B[:, None] + torch.minimum(places_BE, length_B1 - 1)
    q_BEHK = qkv_N3HK[:, 0].index_select(0, rows_BE.flatten()).unflatten(0, rows_BE.shape)
    k, v = layout.pad(qkv_N3HK[:, 1:]).permute(2, 0, 3, 1, 4)
    seen = None if layout.even else layout.real_BL[:, None, None, :]
    ends_BHEK = F.scaled_dot_product_attention(
        q_BEHK.transpose(1, 2), k, v, attn_mask=seen, dropout_p=dropout
    )
    from_last_N = layout.index_N - last_B1[:, 0][layout.segment_N]
    end_N = torch.where(layout.index_N < block, layout.index_N, block + from_last_N)
    place_N = layout.segment_N * 2 * block + end_N.clamp(min=0)
    ends_NHK = ends_BHEK.transpose(1, 2).flatten(0, 1).index_select(0, place_N)
    at_end_N = (layout.index_N < block) | (from_last_N >= 0)
    return torch.where(at_end_N[:, None, None], ends_NHK, mixed_NHK)
