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
    """Positions of queries or keys, in shapes that broadcast against each other.

    Args:
        index: position among the remaining tokens, from 0 ([CLS]).
        position: position in the original text.
        length: number of remaining tokens of the example.
        layer: 1-based.
    """

    index: Int[Tensor, ...]
    position: Int[Tensor, ...]
    length: Int[Tensor, ...]
    layer: int


@runtime_checkable
class Kernel(Protocol):
    """An attention product on packed rows. Values that its pattern `wants` are passed by name, such
    as `position_N` or `weight_N`."""

    def __call__(
        self, qkv_N3HK: Float[Tensor, "n 3 h k"], layout: Layout, dropout: float
    ) -> Float[Tensor, "n h k"]: ...


class Attention(EncoderPart, ABC, slot="attention"):
    """An attention pattern: it decides which tokens attend to which others."""

    # Whether `kernel` approximates softmax attention, so that no mask describes it. It is then used
    # at every length where it exists, even if a reduction needs evidence, which is that of softmax
    # attention over the same queries and keys. It cannot add a relative-position bias.
    approximate: bool = False

    # Values of each row that the product takes: "position" (in the original text), "weight" (log of
    # how much a row counts as a key).
    wants: frozenset[str] = frozenset()

    @abstractmethod
    def sees(self, q: Where, k: Where) -> Bool[Tensor, ...]:
        """Whether a query attends to a key. The answer to an example must not depend on other
        examples of its batch."""

    def sees_all(self, longest: int, layer: int) -> bool:
        """Whether examples of this length need no mask, because `sees` is true everywhere."""
        return False

    def kernel(self, layout: Layout, layer: int) -> Kernel | None:
        """Return a faster product that agrees with `sees`, or None at these lengths."""
        return None

    def flops(self, shape: Shape, layer: int, tokens_B: np.ndarray) -> np.ndarray | None:
        """Return the FLOPs of `kernel` for each example, or None for all pairs of tokens.

        Args:
            shape: sizes of this layer.
            layer: 1-based.
            tokens_B: number of tokens of each example that enter the layer.
        """
        return None
