"""The contract of an exit head.

Shapes: B examples, V width of an example's vector, W of its features, D of what is pooled,
C classes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from eat_lightning.model.contracts.base import EncoderPart
from eat_lightning.model.packed import Packed
from eat_lightning.model.shape import Shape


class Head(EncoderPart, nn.Module, ABC, slot="head"):
    """From the vectors of an example to a guess.

    `bind` makes the parameters. A head that pools other than by [CLS] or a mean minds
    `packed.size_N`, the tokens that a row stands for.
    """

    temperature: Tensor  # a buffer, fitted when training has ended, by which `guess` divides

    changes_width: bool = False  # what it pools is not of the encoder's width
    wants: frozenset[str] = frozenset()  # names of notes on rows, see `packed.NOTES`
    wants_earlier: bool = False  # `guess` is given what each exit of its kind before it has pooled

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.register_buffer("temperature", torch.ones(()))

    @abstractmethod
    def pooled(self, packed: Packed) -> Float[Tensor, "b d"]:
        """Give one vector for each example."""

    @abstractmethod
    def guess(
        self, pooled_BD: Float[Tensor, "b d"], earlier: Sequence[Float[Tensor, "b d"]] = ()
    ) -> Float[Tensor, "b c"]:
        """Give calibrated logits of what was pooled.

        Args:
            pooled_BD: of this exit.
            earlier: of each exit before it, where it `wants_earlier`.
        """

    def join(self, layer: int, heads: Mapping[int, Self]) -> None:
        """Take note of the other heads of its kind, when all have been made.

        Args:
            layer: where this one stands, 1-based.
            heads: they by layer, this one included.
        """

    @abstractmethod
    def flops(self, shape: Shape, num_labels: int, tokens_B: np.ndarray) -> np.ndarray | float:
        """Count the floating-point operations of one guess, for each example.

        Args:
            shape: the encoder's sizes.
            num_labels: classes.
            tokens_B: tokens that are left.
        """


class VectorHead(Head, ABC):
    """A head that reads of an example one vector, which has no parameters but the encoder's: a
    frozen encoder gives it once, and the head learns from what was kept."""

    alone: bool = True  # it shares no parameters with other heads

    @abstractmethod
    def vector_width(self, shape: Shape) -> int:
        """Give V, by the encoder's sizes."""

    @abstractmethod
    def vector(self, packed: Packed) -> Float[Tensor, "b v"]:
        """Give what is read of an example's tokens."""

    def features(self, vector_BV: Float[Tensor, "b v"]) -> Float[Tensor, "b w"]:
        """Give what the first linear layer reads."""
        return vector_BV

    def look_at(self, vector_BV: Float[Tensor, "b v"]) -> None:
        """Take note of the vectors of a sample, before the head learns from kept ones."""

    @abstractmethod
    def of_features(self, features_BW: Float[Tensor, "b w"]) -> Float[Tensor, "b d"]:
        """Give what is pooled."""

    def pooled(self, packed: Packed) -> Float[Tensor, "b d"]:
        return self.of_features(self.features(self.vector(packed)))

    @property
    @abstractmethod
    def first(self) -> nn.Linear:
        """Give the linear layer that reads the features."""
