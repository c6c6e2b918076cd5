"""cosFormer (Qin et al. 2022): linear attention in which a cosine gives near tokens more weight.

The weight of key j for query i is relu(q_i) . relu(k_j) x cos(pi / 2 x (i - j) / M), normalised
over j. The cosine of a difference is a sum of products, so keys are summed only once, and the cost
grows linearly with the length.

i and j are positions in the original text, so that dropping a token does not move the others. M is
the length of each example; in the released code it is the longest of the batch, so that neighbours
change the answer.

Weights: it has no parameters, so dense weights load. But the function differs from softmax
attention, so they are only a start for training. Attention dropout has no effect.
"""

import math

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from eat_lightning.methods.attention._approximate import (
    Approximate,
    Rows,
    linear_attention,
    linear_flops,
)
from eat_lightning.model.shape import Shape

LEAST = 1e-6  # the smallest divisor: where no feature of a query meets one of a key


class CosFormer(Approximate):
    def mixed(self, rows: Rows) -> Float[Tensor, "b h l k"]:
        span_B1 = rows.position_BL.amax(1, keepdim=True) + 1
        angle_B1L1 = (math.pi / 2 * rows.position_BL / span_B1)[:, None, :, None]

        def rotated(x_BHLK: Tensor) -> Tensor:
            x_BHLK = x_BHLK.relu()
            return torch.cat([x_BHLK * angle_B1L1.cos(), x_BHLK * angle_B1L1.sin()], dim=-1)

        q_BHLF, k_BHLF = rotated(rows.q_BHLK), rotated(rows.k_BHLK)
        return linear_attention(q_BHLF, k_BHLF, rows.v_BHLK, rows.size_BL, LEAST)

    def flops(self, shape: Shape, layer: int, tokens_B: np.ndarray) -> np.ndarray:
        return linear_flops(shape, 2 * shape.width_of_head, tokens_B)
