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
    """An exit head: it turns the vectors of an example into logits.

    `bind` creates the parameters. A head that pools in another way than [CLS] or the mean must
    respect `packed.size_N`, the number of tokens that a row represents. In int8, a linear layer
    `dense` of an early head is quantised too, so the layer of the classes needs another name.
    """

    temperature: Tensor  # a buffer by which `guess` divides logits, fitted after training

    changes_width: bool = False  # its pooled vectors have another width than the encoder
    wants: frozenset[str] = frozenset()  # names of notes on rows, see `packed.NOTES`
    wants_earlier: bool = False  # `guess` gets the pooled vectors of earlier exits of its kind

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.register_buffer("temperature", torch.ones(()))

    @abstractmethod
    def pooled(self, packed: Packed) -> Float[Tensor, "b d"]:
        """Return one vector per example."""

    @abstractmethod
    def guess(
        self, pooled_BD: Float[Tensor, "b d"], earlier: Sequence[Float[Tensor, "b d"]] = ()
    ) -> Float[Tensor, "b c"]:
        """Return calibrated logits for pooled vectors.

        Args:
            pooled_BD: pooled vectors of this exit.
            earlier: pooled vectors of previous exits, if it `wants_earlier`.
        """

    def join(self, layer: int, heads: Mapping[int, Self]) -> None:
        """Called with the heads of this kind once all of them exist.

        Args:
            layer: layer of this head, 1-based.
            heads: heads by layer, including this one.
        """

    @abstractmethod
    def flops(self, shape: Shape, num_labels: int, tokens_B: np.ndarray) -> np.ndarray | float:
        """Return the FLOPs of one prediction for each example.

        Args:
            shape: the encoder's sizes.
            num_labels: classes.
            tokens_B: number of remaining tokens of each example.
        """


class VectorHead(Head, ABC):
    """A head that reads one vector per example, computed without parameters of its own. With a
    frozen encoder, this vector is computed once, and the head is trained on the kept vectors."""

    alone: bool = True  # it shares no parameters with other heads

    @abstractmethod
    def vector_width(self, shape: Shape) -> int:
        """Return V for the encoder's sizes."""

    @abstractmethod
    def vector(self, packed: Packed) -> Float[Tensor, "b v"]:
        """Return the vector that is read from an example's tokens."""

    def features(self, vector_BV: Float[Tensor, "b v"]) -> Float[Tensor, "b w"]:
        """Return the input of the first linear layer."""
        return vector_BV

    def look_at(self, vector_BV: Float[Tensor, "b v"]) -> None:
        """Called with the vectors of a sample before the head is trained on kept vectors."""

    @abstractmethod
    def of_features(self, features_BW: Float[Tensor, "b w"]) -> Float[Tensor, "b d"]:
        """Return the pooled vectors."""

    def pooled(self, packed: Packed) -> Float[Tensor, "b d"]:
        return self.of_features(self.features(self.vector(packed)))

    @property
    @abstractmethod
    def first(self) -> nn.Linear:
        """Return the linear layer that reads the features."""
