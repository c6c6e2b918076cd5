"""InferSent's features (Conneau et al. 2017) at an exit: the two texts are pooled separately.

Each text is the mean of its remaining tokens without special tokens, weighted by the number of
tokens that each represents. From the vectors u and v of the two texts, the head reads [u, v, |u -
v|, u * v], followed by a dense layer, activation, dropout and classes. For tasks with one text it
reads u. Tokens that a reduction forwarded to the end (Transkimmer) are ignored.

Shapes: B examples, T texts, N packed tokens, D width, V = T x D.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from typing import Literal

import torch
from jaxtyping import Float
from pydantic import PositiveInt
from torch import Tensor

from eat_lightning.methods.head._vectors import VectorClassifier
from eat_lightning.model.method import method
from eat_lightning.model.packed import Packed
from eat_lightning.model.shape import Activation, Shape


@method("head")
class Pair(VectorClassifier):
    """Classifier of two pooled texts u and v, from u, v, |u - v| and u * v.

    Args:
        texts: number of texts per example.
        pool: how the tokens of each text are pooled.
        activation: activation of the dense layer. None: no dense layer.
        narrowing: how many times narrower than the encoder the dense layer is, if there is one.
        centre: subtracted from the mean of each text. It is zero unless the vectors of a frozen
            encoder are standardised, where a mean that is large relative to its spread would lose
            precision in u * v.
    """

    texts: Literal[1, 2] = 2
    pool: Literal["mean"] = "mean"  # what bundles (`model=eat`) set for all heads
    activation: Activation | None = "tanh"
    narrowing: PositiveInt = 1

    centre: Tensor = field(init=False)

    wants = frozenset({"text"})

    def __post_init__(self) -> None:
        super().__post_init__()
        compared = self.texts == 2
        self.changes_width = compared if self.activation is None else self._narrows > 1

    @property
    def _narrows(self) -> int:
        """How many times narrower than the encoder the dense layer is."""
        return self.narrowing

    def _dense_width(self, shape: Shape) -> int:
        return max(1, shape.hidden_size // self._narrows)

    def bind(self, shape: Shape, exits: Sequence[int], num_labels: int) -> None:
        super().bind(shape, exits, num_labels)
        self.register_buffer("centre", torch.zeros(shape.hidden_size))

    def _num_features(self, shape: Shape) -> int:
        return shape.hidden_size * (4 if self.texts == 2 else 1)

    def vector_width(self, shape: Shape) -> int:
        return shape.hidden_size * self.texts

    def vector(self, packed: Packed) -> Float[Tensor, "b v"]:
        """The means of the texts; zeros of a text of which no token is left."""
        x_ND, layout, text_N = packed.x_ND.float(), packed.layout, packed.notes["text"]
        size_N = x_ND.new_ones(layout.num_tokens) if packed.size_N is None else packed.size_N
        size_N = size_N * (text_N > 0)
        place_N = layout.segment_N * self.texts + (text_N - 1).clamp(0, self.texts - 1)
        mean_MD = layout.means(x_ND, size_N, place_N, layout.size * self.texts)
        return mean_MD.to(packed.x_ND.dtype).view(layout.size, -1)

    def look_at(self, vector_BV: Float[Tensor, "b v"]) -> None:
        """Centre the means of both texts, which share a centre."""
        self.centre.copy_(vector_BV.unflatten(1, (self.texts, -1)).mean((0, 1)))

    def features(self, vector_BV: Float[Tensor, "b v"]) -> Float[Tensor, "b w"]:
        dtype = vector_BV.dtype  # the centre is in fp32, and so are sums with it
        if self.texts == 1:
            return (vector_BV - self.centre).to(dtype)
        return self._compared(vector_BV.unflatten(1, (self.texts, -1))).to(dtype)

    def _compared(self, mean_BTD: Float[Tensor, "b t d"]) -> Float[Tensor, "b w"]:
        """Return u, v, |u - v| and u * v of the means u and v of two texts."""
        mean_BTD = mean_BTD - self.centre
        u_B1D, v_B1D = mean_BTD.split(1, 1)
        return torch.cat([mean_BTD, (u_B1D - v_B1D).abs(), u_B1D * v_B1D], 1).flatten(1)
