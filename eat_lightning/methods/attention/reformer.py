"""Reformer (Kitaev et al. 2020): each token attends to the tokens in its bucket of a random hash.

Keys are the queries, divided by their length ("shared-QK"). In a round a token's bucket is the
argmax of [x R; -x R] for a random R. Tokens are sorted by bucket and cut into chunks. They attend
to tokens of their bucket in their own and the previous chunk, and to themselves only if there are
no others. Rounds are added, weighted by their softmax sums. The cost grows with length x chunk x
rounds.

R is drawn once, from `seed`, and saved with the weights, so inference is reproducible. An example
of n tokens has 2 ceil(n / (2 chunk)) buckets, independent of its neighbours.

Weights: the key projection is not used and a token does not attend to itself, so dense BERT weights
do not carry over. Use it to train from scratch, or to measure times.
"""

from collections.abc import Sequence
from dataclasses import field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from pydantic import NonNegativeInt
from torch import Tensor

from eat_lightning.methods.attention._approximate import Approximate, Rows
from eat_lightning.model.method import method
from eat_lightning.model.shape import Shape
from eat_lightning.validation import Count

SELF = -5e4  # the score of a token with itself, as in the released code


@method("attention")
class Reformer(Approximate):
    """Attention within chunks of tokens with the same hash.

    Args:
        bucket: tokens per chunk, and on average per bucket.
        rounds: number of hashes whose attentions are combined.
    """

    bucket: Count = 64
    rounds: Count = 4
    seed: NonNegativeInt = 0

    directions_TKC: Tensor = field(init=False)

    def bind(self, shape: Shape, exits: Sequence[int], num_labels: int) -> None:
        most, width = self._half(shape.max_length), shape.width_of_head
        generator = torch.Generator().manual_seed(self.seed)
        drawn_TKC = torch.randn(self.rounds, width, most, generator=generator)
        self.register_buffer("directions_TKC", drawn_TKC)

    def _half(self, length: Any) -> Any:
        """Half the number of buckets."""
        return -(-length // (2 * self.bucket))

    def export_blockers(self) -> list[str]:
        return ["attention=reformer cuts as many chunks as there are tokens: a graph wants a count"]

    def mixed(self, rows: Rows) -> Float[Tensor, "b h l k"]:
        found = [self._one_round(rows, self._buckets(rows, turn)) for turn in range(self.rounds)]
        mixed_TBHLK, sums_TBHL = map(torch.stack, zip(*found, strict=True))
        return (sums_TBHL.softmax(0)[..., None] * mixed_TBHLK).sum(0)

    def _buckets(self, rows: Rows, turn: int) -> Int[Tensor, "b h l"]:
        """Return each token's bucket: the argmax of [x R; -x R], and the highest number for
        padding."""
        most = self._half(rows.layout.longest)
        rotated_BHLC = rows.q_BHLK @ self.directions_TKC[turn, :, :most].float()
        half_B = rows.layout.there(self._half(rows.layout.lengths_B))
        column = torch.arange(most, device=rows.q_BHLK.device)
        beyond_B11C = (column >= half_B[:, None])[:, None, None]
        both = [x.masked_fill(beyond_B11C, float("-inf")) for x in (rotated_BHLC, -rotated_BHLC)]
        return torch.cat(both, -1).argmax(-1).masked_fill(~rows.real_BL[:, None], 2 * most)

    def _one_round(
        self, rows: Rows, bucket_BHL: Int[Tensor, "b h l"]
    ) -> tuple[Float[Tensor, "b h l k"], Float[Tensor, "b h l"]]:
        """Return a hashing round's mixed values, and the logarithm of each token's softmax sum."""
        q_BHLK, dropout = rows.q_BHLK, rows.dropout
        longest, width = q_BHLK.shape[2:]
        place_L = torch.arange(longest, device=q_BHLK.device)
        order_BHL = (bucket_BHL * longest + place_L).argsort(-1)
        order_BHLK = order_BHL[..., None].expand_as(q_BHLK)
        q_BHCQK = self._chunked(q_BHLK.gather(2, order_BHLK), 0.0)
        v_BHCQK = self._chunked(rows.v_BHLK.gather(2, order_BHLK), 0.0)
        weight_BHL = rows.weight_BL[:, None].expand_as(order_BHL).gather(2, order_BHL)
        bucket_BHCQ = self._chunked(bucket_BHL.gather(2, order_BHL), -1)

        keys_BHCSK = with_previous(F.normalize(q_BHCQK, dim=-1), 0.0)
        scores = q_BHCQK @ keys_BHCSK.transpose(3, 4) / width**0.5
        scores = scores + with_previous(self._chunked(weight_BHL, 0.0), 0.0)[..., None, :]
        diagonal = torch.eye(self.bucket, dtype=torch.bool, device=q_BHLK.device)
        scores = scores.masked_fill(F.pad(diagonal, (self.bucket, 0)), SELF)
        same = bucket_BHCQ[..., None] == with_previous(bucket_BHCQ, -2)[..., None, :]
        scores = scores.masked_fill(~same, float("-inf"))
        weights = F.dropout(scores.softmax(-1), dropout, training=dropout > 0)

        back_BHL = order_BHL.argsort(-1)
        mixed_BHLK = (weights @ with_previous(v_BHCQK, 0.0)).flatten(2, 3)
        mixed_BHLK = mixed_BHLK.gather(2, back_BHL[..., None].expand_as(q_BHLK))
        return mixed_BHLK, scores.logsumexp(-1).flatten(2).gather(2, back_BHL)

    def _chunked(self, x_BHL: Tensor, fill: float) -> Tensor:
        """(B, H, L, ...) -> (B, H, chunks, bucket, ...), the last chunk filled up."""
        missing = -x_BHL.shape[2] % self.bucket
        sides = (0, 0) * (x_BHL.ndim - 3) + (0, missing)
        return F.pad(x_BHL, sides, value=fill).unflatten(2, (-1, self.bucket))

    def flops(self, shape: Shape, layer: int, tokens_B: np.ndarray) -> np.ndarray:
        """Hashing, then scores and mixing of each chunk with two, in every round."""
        filled_B = -(-tokens_B // self.bucket) * self.bucket
        hashing_B = 2.0 * tokens_B * self._half(tokens_B)
        return self.rounds * shape.attention_width * (hashing_B + 8.0 * filled_B * self.bucket)


def with_previous(x_BHCQ: Tensor, fill: float) -> Tensor:
    """(B, H, C, Q, ...) -> (B, H, C, 2 Q, ...): each chunk behind the one before it."""
    sides = (0, 0) * (x_BHCQ.ndim - 3) + (1, 0)
    before = F.pad(x_BHCQ[:, :, :-1], sides, value=fill)
    return torch.cat([before, x_BHCQ], dim=3)
