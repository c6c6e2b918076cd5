"""Vectors within a pass, which only training and studies read.

Shapes: B examples, D width, L longest length, H heads.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from jaxtyping import Float
from torch import Tensor

from eat_lightning.model.packed import Packed


@dataclass
class Scores:
    """A layer's attention scores before softmax, and the rows that entered it."""

    packed: Packed
    scores_BHLL: Float[Tensor, "b h l l"]


@dataclass
class Inside:
    """Vectors within a pass.

    Args:
        penalties: terms of each example that methods add to the loss, where nobody left.
        hidden: the vectors after each layer (0: the embedding), where the encoder keeps them.
        pools: vectors of heads that see earlier exits, B x D by layer.
        scores: of attention by layer, where the encoder keeps them.
    """

    penalties: dict[str, Tensor] = field(default_factory=dict)
    hidden: dict[int, Packed] = field(default_factory=dict)
    pools: dict[int, Tensor] = field(default_factory=dict)
    scores: dict[int, Scores] = field(default_factory=dict)
