"""The parts of a pass that vary from one call of an encoder to the next."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class PassOptions:
    """Options of one pass.

    Args:
        leave: examples leave where the exit rule decides so; False: every head guesses for every
            example, and all run to the last layer; None: False in training, else True.
        flow: two factors on the gradient at the k-th of so many exits, as `Objective.flow` gives
            them; acts in training.
        skips: layers (1-based) that are not run.
        keep_hidden: the trace holds the vectors after each layer.
        keep_scores: the trace holds each layer's attention scores.
        soft: reductions gate rows and drop none; acts in training.
    """

    leave: bool | None = None
    flow: Callable[[int, int], tuple[float, float]] | None = None
    skips: frozenset[int] = frozenset()
    keep_hidden: bool = False
    keep_scores: bool = False
    soft: bool = False


USUAL = PassOptions()
ALL_EXITS = PassOptions(leave=False)
