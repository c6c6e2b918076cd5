"""Linformer (Wang et al. 2020): attention over k weighted sums of the keys instead of all n keys.

softmax(Q (E K)^T / sqrt(K)) F V: E and F are learned for each layer and shared by its heads
("headwise sharing"). They map n keys and n values to k, so the cost grows with n x k.

A key is multiplied by the column of E for its position in the original text, so E K is a sum over
the example's own tokens, without padding or mask, and dropped tokens leave the sum. A merged token
counts as often as tokens were merged into it.

Weights: E and F are new. A pretrained backbone loads, but its attention then reads something else,
so it is only a start for training. E and F have a column for each position up to the maximum
length.
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from eat_lightning.methods.attention._approximate import Approximate, Rows
from eat_lightning.model.method import method
from eat_lightning.model.shape import Shape
from eat_lightning.validation import Count


@method("attention")
class Linformer(Approximate):
    """Attention to a fixed number of weighted sums of keys and values.

    Args:
        rank: k, the number of sums.
    """

    rank: Count = 128

    def bind(self, shape: Shape, exits: Sequence[int], num_labels: int) -> None:
        """Gaussian with variance 1 / k, for which distances are kept."""
        sizes = shape.num_layers, 2, self.rank, shape.max_length
        self.projection = nn.Parameter(torch.randn(sizes) / self.rank**0.5)

    def mixed(self, rows: Rows) -> Float[Tensor, "b h l k"]:
        for_keys, for_values = self.projection[rows.layer - 1]
        k_BHRK = summed(for_keys, rows.k_BHLK, rows)
        v_BHRK = summed(for_values, rows.v_BHLK, rows)
        return F.scaled_dot_product_attention(rows.q_BHLK, k_BHRK, v_BHRK, dropout_p=rows.dropout)

    def flops(self, shape: Shape, layer: int, tokens_B: np.ndarray) -> np.ndarray:
        """Sums of keys and of values, scores, and mixing."""
        return 8.0 * tokens_B * self.rank * shape.attention_width


def summed(
    projection_RP: Float[Tensor, "r p"], x_BHLK: Float[Tensor, "b h l k"], rows: Rows
) -> Float[Tensor, "b h r k"]:
    """Sums over the tokens, weighed by a column of the projection for each place P of the text, the
    same for all heads: one product for each example."""
    heads = x_BHLK.shape[1]
    weights_BRL = projection_RP[:, rows.position_BL].transpose(0, 1) * rows.size_BL[:, None]
    sums_BRM = weights_BRL @ x_BHLK.transpose(1, 2).flatten(2)
    return sums_BRM.unflatten(2, (heads, -1)).transpose(1, 2)
