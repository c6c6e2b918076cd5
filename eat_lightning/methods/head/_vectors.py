"""Base class of heads that read one vector of an example: a dense layer, a norm, classes.

Shapes: B examples, W width of the features, D width of what is pooled, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from torch import Tensor, nn

from eat_lightning.model.contracts import VectorHead
from eat_lightning.model.heads import ACTIVATIONS
from eat_lightning.model.shape import Shape


class VectorClassifier(VectorHead):
    """A dense layer, its activation, a norm, dropout and classes, of what a subclass reads."""

    activation: str | None
    norm: bool = False

    def __post_init__(self) -> None:
        self.act = ACTIVATIONS[self.activation] if self.activation else None

    def _num_features(self, shape: Shape) -> int:
        """Give the width of the features."""
        return self.vector_width(shape)

    def _dense_width(self, shape: Shape) -> int:
        """Give the width of what the dense layer makes."""
        return shape.hidden_size

    def bind(self, shape: Shape, exits: Sequence[int], num_labels: int) -> None:
        width, read, bias = self._dense_width(shape), self._num_features(shape), shape.biases
        self.dense = nn.Linear(read, width, bias=bias) if self.activation else None
        self.normed = nn.LayerNorm(width, eps=shape.eps, bias=bias) if self.norm else None
        self.dropout = nn.Dropout(shape.dropout)
        self.classes = nn.Linear(width if self.activation else read, num_labels)

    @property
    def first(self) -> nn.Linear:
        return self.classes if self.dense is None else self.dense

    def of_features(self, features_BW: Float[Tensor, "b w"]) -> Float[Tensor, "b d"]:
        pooled_BD = features_BW
        if self.dense is not None and self.act is not None:
            pooled_BD = self.act(self.dense(pooled_BD))
        return pooled_BD if self.normed is None else self.normed(pooled_BD)

    def guess(self, pooled_BD: Float[Tensor, "b d"]) -> Float[Tensor, "b c"]:
        """Calibrated logits."""
        if self.training:
            pooled_BD = self.dropout(pooled_BD)
        return self.classes(pooled_BD) / self.temperature

    def flops(self, shape: Shape, num_labels: int, tokens_B: np.ndarray) -> np.ndarray | float:
        """Cost of one guess; pooling is left out."""
        width, read = self._dense_width(shape), self._num_features(shape)
        return 2.0 * (read * width + width * num_labels if self.activation else read * num_labels)
