"""Performer (Choromanski et al. 2021): softmax attention through positive random features (FAVOR+).

exp(q . k / sqrt(K)) is the mean over random directions w of exp(w . q' - |q'|^2 / 2) times exp(w .
k' - |k'|^2 / 2), with q', k' = q, k / K^(1/4) (lemma 1). With m directions, orthogonal in blocks of
K and as long as Gaussian vectors, the cost grows with length x m. The features of a query are
divided by their maximum, and so are those of an example's keys, to avoid overflow; this does not
change the mean over the keys.

The directions are drawn once, from `seed`, and saved with the weights, so inference is
reproducible. The released code redraws them every 1,000 calls in training.

Weights: pretrained weights are used, since their dense attention is estimated, and there are no new
parameters. But the error grows with the scores, so train further before use. Attention dropout has
no effect.
"""

import math
from collections.abc import Sequence
from dataclasses import field

import numpy as np
import torch
from jaxtyping import Float
from pydantic import NonNegativeInt
from torch import Tensor

from eat_lightning.methods.attention._approximate import (
    Approximate,
    Rows,
    linear_attention,
    linear_flops,
)
from eat_lightning.model.method import method
from eat_lightning.model.shape import Shape
from eat_lightning.validation import Count

LEAST = 1e-4  # added to each feature, as in the released code: no divisor is 0


@method("attention")
class Performer(Approximate):
    """Softmax attention estimated by positive random features.

    Args:
        features: m. None: K ln K, with which the error is bounded.
    """

    features: Count | None = None
    seed: NonNegativeInt = 0

    directions_FK: Tensor = field(init=False)

    def bind(self, shape: Shape, exits: Sequence[int], num_labels: int) -> None:
        drawn_FK = orthogonal(self._num_features(shape), shape.width_of_head, self.seed)
        self.register_buffer("directions_FK", drawn_FK)

    def _num_features(self, shape: Shape) -> int:
        width = shape.width_of_head
        return self.features or max(1, int(width * math.log(width)))

    def mixed(self, rows: Rows) -> Float[Tensor, "b h l k"]:
        q_BHLF, k_BHLF = self._logs(rows.q_BHLK), self._logs(rows.k_BHLK)
        q_BHLF = (q_BHLF - q_BHLF.amax(-1, keepdim=True)).exp() + LEAST
        k_BHLF = (k_BHLF - k_BHLF.amax((2, 3), keepdim=True)).exp() + LEAST
        return linear_attention(q_BHLF, k_BHLF, rows.v_BHLK, rows.size_BL, least=0.0)

    def _logs(self, x_BHLK: Float[Tensor, "b h l k"]) -> Float[Tensor, "b h l f"]:
        """Logarithms of the features."""
        x_BHLK = x_BHLK / x_BHLK.shape[-1] ** 0.25
        return x_BHLK @ self.directions_FK.float().T - x_BHLK.square().sum(-1, keepdim=True) / 2

    def flops(self, shape: Shape, layer: int, tokens_B: np.ndarray) -> np.ndarray:
        features = self._num_features(shape)
        return linear_flops(shape, features, tokens_B) + (
            4.0 * tokens_B * features * shape.attention_width
        )


def orthogonal(num_rows: int, width: int, seed: int) -> Float[Tensor, "f k"]:
    """Gaussian vectors made orthogonal in blocks of `width`, their lengths kept Gaussian."""
    generator = torch.Generator().manual_seed(seed)
    num_blocks = -(-num_rows // width)
    blocks, upper = torch.linalg.qr(torch.randn(num_blocks, width, width, generator=generator))
    # Else the first component of each first direction is negative (Mezzadri 2007).
    blocks = blocks * upper.diagonal(dim1=1, dim2=2).sign()[:, None]
    lengths_F1 = torch.randn(num_rows, width, generator=generator).norm(dim=1, keepdim=True)
    return blocks.transpose(1, 2).flatten(0, 1)[:num_rows] * lengths_F1
