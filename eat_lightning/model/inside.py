"""Intermediate values of a pass, which only training and studies read.

Shapes: B examples, D width, L longest length, H heads.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from jaxtyping import Float
from torch import Tensor

from eat_lightning.model.packed import Packed


@dataclass
class Scores:
    """A layer's attention scores before softmax, and the vectors that entered it."""

    packed: Packed
    scores_BHLL: Float[Tensor, "b h l l"]


@dataclass
class Inside:
    """Intermediate values of a pass.

    Args:
        penalties: terms that methods add to the loss, one value per example, of a pass in which no
            example left early.
        hidden: the vectors after each layer (0: the embedding), if `PassOptions.keep_hidden`.
        pools: pooled vectors for heads that read earlier exits, B x D by layer.
        scores: attention scores by layer, if `PassOptions.keep_scores`.
    """

    penalties: dict[str, Tensor] = field(default_factory=dict)
    hidden: dict[int, Packed] = field(default_factory=dict)
    pools: dict[int, Tensor] = field(default_factory=dict)
    scores: dict[int, Scores] = field(default_factory=dict)
