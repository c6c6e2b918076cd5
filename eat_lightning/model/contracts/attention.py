"""The contract of an attention pattern.

Shapes: B examples, N packed tokens, H heads, K head width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int
from torch import Tensor

from eat_lightning.model.contracts.base import EncoderPart
from eat_lightning.model.packed import Layout
from eat_lightning.model.shape import Shape


@dataclass
class Where:
    """Places of queries or keys, shaped to broadcast against each other.

    Args:
        index: place among the tokens that are left, from 0 ([CLS]).
        position: place in the original text.
        length: tokens that the example has left.
        layer: 1-based.
    """

    index: Int[Tensor, ...]
    position: Int[Tensor, ...]
    length: Int[Tensor, ...]
    layer: int


@runtime_checkable
class Kernel(Protocol):
    """An attention product on packed rows. It also takes by name, as `position_N` or `weight_N`,
    the values that its pattern `wants`."""

    def __call__(
        self, qkv_N3HK: Float[Tensor, "n 3 h k"], layout: Layout, dropout: float
    ) -> Float[Tensor, "n h k"]: ...


class Attention(EncoderPart, ABC, slot="attention"):
    """Attention pattern: decides which tokens see which others."""

    # No mask says what the product does. It is used at every length where `kernel` gives one,
    # whatever a reduction needs; evidence is that of softmax attention over the same queries and
    # keys. It has no place for a relative-position bias.
    approximate: bool = False

    # Values of each row that the product takes: "position" (in the original text), "weight" (log of
    # how much a row counts as a key).
    wants: frozenset[str] = frozenset()

    @abstractmethod
    def sees(self, q: Where, k: Where) -> Bool[Tensor, ...]:
        """True where a query may look at a key. An example's answer must not depend on the others
        of its batch."""

    def sees_all(self, longest: int, layer: int) -> bool:
        """True where `sees` hides nothing from examples of this length, so that no mask is made."""
        return False

    def kernel(self, layout: Layout, layer: int) -> Kernel | None:
        """Give a faster product that agrees with `sees`; None: none at these lengths."""
        return None

    def flops(self, shape: Shape, layer: int, tokens_B: np.ndarray) -> np.ndarray | None:
        """Count the floating-point operations of `kernel` for each example; None: all pairs of
        tokens.

        Args:
            shape: sizes of this layer.
            layer: 1-based.
            tokens_B: tokens that enter the layer.
        """
        return None
