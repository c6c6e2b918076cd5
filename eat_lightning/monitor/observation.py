"""Observations of a drift monitor: five features of an example, from the exits that it takes or
would have taken.

At full depth no example exits, so depth would be constant and carry no information. Heads cost next
to nothing compared with a layer, so they are still evaluated, and the exit rule is applied to their
logits. Both states thus give the same five features. Token pruning stays active, since it
influences the logits.

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
    """Features of an example.

    Args:
        confidence: at the exit.
        depth: layers up to the exit.
        retention: share of its tokens that enter this layer.
        tokens: at layer 1.
        label: index of the predicted class.
    """

    confidence: float
    depth: int
    retention: float
    tokens: int
    label: int

    @cached_property
    def places_F(self) -> np.ndarray:
        """Return its places on a fixed grid. A grid computed from the calibration part would treat
        that part differently from the stream.
        """
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
    """Return the observations of examples, from the exits that they took or would have taken."""
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
    """Return the grid places of observations (B x F)."""
    return np.stack([each.places_F for each in seen])
