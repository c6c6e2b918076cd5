"""The contract of a reduction: make examples shorter between layers.

Shapes: B examples, N packed tokens.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
from jaxtyping import Float
from torch import Tensor

from eat_lightning.model.contracts.base import EncoderPart, points_by_layer
from eat_lightning.model.evidence import Evidence
from eat_lightning.model.packed import Packed
from eat_lightning.model.shape import Shape

Place = Literal["after_layer", "after_attention"]


class Reduction(EncoderPart, ABC, slot="reduction"):
    """A reduction: it shortens a packed batch at each of its `layers`."""

    layers: Sequence[int]  # where it acts, 1-based; 0 is the embedding
    place: Place = "after_layer"  # or within a layer, between attention and feed-forward
    needs: frozenset[str] = frozenset()  # names of `Evidence`, made only where it is needed
    wants: frozenset[str] = frozenset()  # names of notes on rows, see `packed.NOTES`
    varies: bool = False  # how many rows stay is known only from their values
    draws: bool = False  # in training it draws points of its knob
    grad: bool = False  # evidence comes with its gradient in a soft stage
    soft_place: Place | None = None  # where `soften` acts; None: at `place`

    @abstractmethod
    def __call__(self, packed: Packed, evidence: Evidence, layer: int) -> Packed:
        """Return the rows that stay: [CLS] of each example first, the others in their order, and
        all of an example whose `packed.strength_B` is 0. The N rows are those of all examples of a
        batch, and no example may change what another keeps."""

    def soften(self, packed: Packed, evidence: Evidence, layer: int) -> Packed:
        """Return the rows in a soft stage of training, in which they are gated and none is dropped.
        It is called in place of the reduction itself."""
        return self(packed, evidence, layer)

    def score(self, packed: Packed, evidence: Evidence) -> Float[Tensor, " n"] | None:
        """Return a score for each row; rows with higher scores stay. None if rows are not chosen by
        a score."""
        return None

    def ratios(self) -> list[float] | None:
        """Return the maximum share of rows that an example loses at each of `layers`, or None if it
        is unknown."""
        if not self.layers:
            return []
        ratio = self.knob is not None and self.knob.is_ratio
        return [*points_by_layer(self).values()] if ratio else None

    def search(
        self, evaluate: Callable[[list[float]], tuple[float, float]], seed: int = 0
    ) -> Sequence[Any]:
        """Return the best values of the knob, each with `point`, `cost` and `score`, ordered by
        cost.

        Args:
            evaluate: returns cost and score of a value.
            seed: seed of random draws.
        """
        return []

    def flops(self, shape: Shape, layer: int, tokens_B: np.ndarray) -> np.ndarray | float:
        """Return the FLOPs of the method itself for each example.

        Args:
            shape: the encoder's sizes.
            layer: one of `layers`.
            tokens_B: number of tokens of each example before the reduction.
        """
        return 0.0
