"""Nyströmformer (Xiong et al. 2021): softmax attention through m landmarks.

softmax(Q K~^T) pinv(softmax(Q~ K~^T)) softmax(Q~ K^T) V, where Q~ and K~ are the means of m
consecutive segments of an example's queries and keys. A depthwise convolution of V is added. The
inverse is approximated iteratively: Z <- Z / 4 (13 I - A Z (15 I - A Z (7 I - A Z))) (lemma 1),
from A^T divided by its largest row and column sums, here for each example and head. The released
code uses the maximum over the batch, so that neighbours change the answer. The cost grows with
length x m.

An example with at most m tokens gets exact softmax attention and the convolution. Segments consist
of the remaining tokens.

Weights: pretrained weights are used, and the convolution starts at 0. The model therefore starts as
an approximation of dense attention and needs further training. Attention dropout only affects short
examples.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import NonNegativeInt
from torch import Tensor, nn

from eat_lightning.methods.attention._approximate import Approximate, Rows
from eat_lightning.model.method import method
from eat_lightning.model.shape import Shape
from eat_lightning.validation import Count

STEPS = 6  # of the iterated inverse, as in the paper


@method("attention")
class Nystrom(Approximate):
    """Softmax attention through landmarks, with a convolution of the values.

    Args:
        landmarks: m.
        conv: width of the convolution of the values in tokens, odd; 0: none.
    """

    landmarks: Count = 64
    conv: NonNegativeInt = 33

    def rules(self, num_layers: int | None) -> Iterable[str]:
        if self.conv and self.conv % 2 == 0:
            yield f"attention.conv must be odd, or 0 for none, got {self.conv}"

    def bind(self, shape: Shape, exits: Sequence[int], num_labels: int) -> None:
        if self.conv:
            weight = torch.zeros(shape.num_layers, shape.num_heads, 1, self.conv, 1)
            self.conv_weight = nn.Parameter(weight)

    def export_blockers(self) -> list[str]:
        return ["attention=nystrom attends densely to short examples: a graph cannot choose"]

    def mixed(self, rows: Rows) -> Float[Tensor, "b h l k"]:
        short_B = rows.layout.lengths_B <= self.landmarks
        if short_B.all():
            mixed_BHLK = softmax_attention(rows, rows.layout.longest)
        else:
            mixed_BHLK = self._by_landmarks(rows)
        if short_B.any() and not short_B.all():
            exact = softmax_attention(rows, self.landmarks)
            exact = F.pad(exact, (0, 0, 0, mixed_BHLK.shape[2] - self.landmarks))
            short_B111 = rows.layout.there(short_B)[:, None, None, None]
            mixed_BHLK = torch.where(short_B111, exact, mixed_BHLK)
        return mixed_BHLK + self._convolved(rows) if self.conv else mixed_BHLK

    def _by_landmarks(self, rows: Rows) -> Float[Tensor, "b h l k"]:
        q_BHLK, k_BHLK = rows.q_BHLK, rows.k_BHLK
        q_BHMK, k_BHMK = self._means(q_BHLK, rows), self._means(k_BHLK, rows)
        inverse_BHMM = pseudo_inverse(scores(q_BHMK, k_BHMK).softmax(-1))
        keys_BHML = (scores(q_BHMK, k_BHLK) + rows.bias_BL[:, None, None]).softmax(-1)
        return scores(q_BHLK, k_BHMK).softmax(-1) @ (inverse_BHMM @ (keys_BHML @ rows.v_BHLK))

    def _convolved(self, rows: Rows) -> Float[Tensor, "b h l k"]:
        """Along the tokens that are left, a head at a time, with zeros beyond both ends."""
        weight_H1C1 = self.conv_weight[rows.layer - 1]
        real_BHLK = rows.v_BHLK * rows.real_BL[:, None, :, None]
        padding = (self.conv // 2, 0)
        return F.conv2d(real_BHLK, weight_H1C1, padding=padding, groups=len(weight_H1C1))

    def _means(self, x_BHLK: Float[Tensor, "b h l k"], rows: Rows) -> Float[Tensor, "b h m k"]:
        """Means of the parts of each example; a merged token counts by its size."""
        layout, m = rows.layout, self.landmarks
        length_B1 = layout.there(layout.lengths_B)[:, None]
        place_L = torch.arange(layout.longest, device=layout.device)
        part_BL = torch.minimum(place_L, length_B1 - 1) * m // length_B1
        part_BHLK = part_BL[:, None, :, None].expand_as(x_BHLK)
        weighed_BHLK = x_BHLK * rows.size_BL[:, None, :, None]
        sums = x_BHLK.new_zeros(*x_BHLK.shape[:2], m, x_BHLK.shape[3])
        counts_BM = x_BHLK.new_zeros(len(part_BL), m).scatter_add(1, part_BL, rows.size_BL)
        sums_BHMK = sums.scatter_add(2, part_BHLK, weighed_BHLK)
        return sums_BHMK / counts_BM.clamp(min=1e-9)[:, None, :, None]

    def flops(self, shape: Shape, layer: int, tokens_B: np.ndarray) -> np.ndarray:
        """Count products by landmarks: three products of queries and keys, three with values, and
        four of m x m in each step of the inverse."""
        m, width, heads = self.landmarks, shape.attention_width, shape.num_heads
        inverse = 8.0 * STEPS * heads * m**3
        long_B = 8.0 * tokens_B * m * width + 4.0 * m**2 * width + inverse
        product_B = np.where(tokens_B <= m, 4.0 * tokens_B**2 * width, long_B)
        return product_B + 2.0 * tokens_B * width * self.conv


def scores(
    q_BHLK: Float[Tensor, "b h l k"], k_BHMK: Float[Tensor, "b h m k"]
) -> Float[Tensor, "b h l m"]:
    return q_BHLK @ k_BHMK.transpose(2, 3) / q_BHLK.shape[-1] ** 0.5


def softmax_attention(rows: Rows, longest: int) -> Float[Tensor, "b h l k"]:
    """Attention itself, among the first `longest` rows of each example."""
    q, k, v = (x[:, :, :longest] for x in (rows.q_BHLK, rows.k_BHLK, rows.v_BHLK))
    mask_B11L = rows.bias_BL[:, None, None, :longest]
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask_B11L, dropout_p=rows.dropout)


def pseudo_inverse(a_BHMM: Float[Tensor, "b h m m"]) -> Float[Tensor, "b h m m"]:
    """The inverse of a matrix of nonnegative numbers, by iteration (lemma 1)."""
    one = torch.eye(a_BHMM.shape[-1], device=a_BHMM.device)
    largest_BH = a_BHMM.sum(-1).amax(-1) * a_BHMM.sum(-2).amax(-1)
    z_BHMM = a_BHMM.transpose(2, 3) / largest_BH[:, :, None, None]
    for _ in range(STEPS):
        az_BHMM = a_BHMM @ z_BHMM
        z_BHMM = z_BHMM / 4 @ (13 * one - az_BHMM @ (15 * one - az_BHMM @ (7 * one - az_BHMM)))
    return z_BHMM
