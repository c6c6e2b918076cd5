"""Observations of a drift monitor: five numbers of an example that the exits give, or would have
given.

At full depth nobody leaves, so depth is the same for all and carries no information. The heads at
the exits cost next to nothing compared with a layer. They still guess, and the exit rule is applied
to those guesses. Both states thus give the same five numbers. Tokens are dropped as usual: without
that the guesses would be others.

Shapes: B examples, F features.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
from scipy.special import softmax

from eat_lightning.model.trace import Trace

PLACES = 520  # of every feature's grid; what lies beyond shares the last one


@dataclass(frozen=True)
class Observation:
    """confidence: of the guess that the example leaves with. depth: layers until there. retention:
    share of its tokens that enter that layer. tokens: at layer 1. label: the class it leaves with,
    by number."""

    confidence: float
    depth: int
    retention: float
    tokens: int
    label: int

    @cached_property
    def places_F(self) -> np.ndarray:
        """Tell where it lies on a grid that is fixed beforehand: a grid made from the calibration
        part would treat that part otherwise than what is compared with it."""
        doubt = max(1 - self.confidence, 1e-6)
        place_F = (
            round(-40 * math.log10(doubt)),  # 0.90, 0.905, 0.911 ... 0.99, 0.9906 ...
            self.depth,
            round(500 * self.retention),
            self.tokens,
            self.label,
        )
        return np.clip(np.array(place_F), 0, PLACES - 1)


FEATURES = tuple(field.name for field in fields(Observation))


def observations(trace: Trace) -> list[Observation]:
    """Return the observations of examples, by what the exits made of them, or would have made."""
    exits = trace.would or trace
    values = (
        softmax(exits.logits_BC, axis=-1).max(-1).tolist(),
        exits.depth_B.tolist(),
        exits.retention_B.tolist(),
        exits.tokens_LB[0].tolist(),
        exits.logits_BC.argmax(-1).tolist(),
    )
    return [Observation(*each) for each in zip(*values, strict=True)]


def places(seen: Sequence[Observation]) -> np.ndarray:
    """B x F."""
    return np.stack([each.places_F for each in seen])
