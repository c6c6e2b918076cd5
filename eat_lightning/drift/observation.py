"""What a drift monitor sees of an example: what the exits make of it, or would have made.

At full depth nobody leaves, so depth is the same for all and says nothing. The heads at the exits
cost next to nothing beside a layer: they still guess, and the exit rule is asked what it would have
done with those guesses. Both states then speak of the same five numbers. Tokens are dropped as
ever: without that the guesses would be others.

Shapes: B examples, F features.
"""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from eat_lightning.infer.record import Outcome
    from eat_lightning.model.encoder import AdaptiveEncoder, Trace
    from eat_lightning.model.packed import Batch

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
        """Where it lies on a grid that is fixed beforehand: a grid made from the calibration part
        would treat that part otherwise than what is compared with it."""
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


def of_values(
    logits_BC: np.ndarray, depth_B: np.ndarray, tokens_LB: np.ndarray
) -> list[Observation]:
    """Of what each example leaves with, and the tokens entering each layer until then."""
    confidence_B, label_B = confident(logits_BC)
    retention_B = np.take_along_axis(tokens_LB, depth_B[None] - 1, axis=0)[0] / tokens_LB[0]
    given = (confidence_B, depth_B, retention_B, tokens_LB[0], label_B)
    return [Observation(*each) for each in zip(*(x.tolist() for x in given), strict=True)]


def of_outcome(outcome: Outcome) -> list[Observation]:
    """Of recorded examples, by what a rule makes of them."""
    return of_values(outcome.logits_BC, outcome.depth_B, outcome.recorded.tokens_LB)


def of_trace(encoder: AdaptiveEncoder, trace: Trace, full: Batch | None) -> list[Observation]:
    """Of a batch just run. full: that batch, where it ran with `leave=False`, so that every head
    has guessed, and the encoder's exit rule and policies can be asked what they would have done."""
    tokens_LB = trace.tokens_LB.numpy()
    if full is None:
        logits_BC = trace.logits_BC.float().cpu().numpy()
        return of_values(logits_BC, trace.depth_B.numpy(), tokens_LB)
    from eat_lightning.infer.record import Recorded

    guesses = {k: guess_BC.float().cpu().numpy() for k, guess_BC in trace.guesses.items()}
    unknown_B = np.zeros(tokens_LB.shape[1])
    how: dict[str, Any] = {"policies": encoder.policies, "batch": lambda rows: full}
    return of_outcome(
        Recorded(unknown_B, tokens_LB[0], guesses, tokens_LB, encoder.exit, **how).under()
    )


def confident(logits_BC: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The largest class probability, and its class."""
    odds_BC = np.exp(logits_BC - logits_BC.max(-1, keepdims=True))
    return odds_BC.max(-1) / odds_BC.sum(-1), logits_BC.argmax(-1)


def places(seen: list[Observation]) -> np.ndarray:
    """B x F."""
    return np.stack([each.places_F for each in seen])


def columns(seen: list[Observation]) -> dict[str, list[float]]:
    """By feature, as they go to a file."""
    values = zip(*(astuple(each) for each in seen), strict=True)
    return {name: list(column) for name, column in zip(FEATURES, values, strict=True)}
