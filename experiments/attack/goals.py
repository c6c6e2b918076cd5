"""Goals of an attacker, as a score of each example that a search climbs.

Shapes: B examples, E early exits, C classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import softmax

from experiments.attack.rules import Outcome

Layers = tuple[int, ...]


@dataclass(frozen=True)
class Goal:
    """`applies`: whom it is worth attacking, from the text as it was. `score`: higher is nearer.
    `reached`: done. Layers are those at which the rule under attack lets examples leave. kinds: the
    edits that are tried where none are named."""

    name: str
    applies: Callable[[Outcome], np.ndarray]
    score: Callable[[Outcome, Layers], np.ndarray]
    reached: Callable[[Outcome, Layers], np.ndarray]
    kinds: tuple[str, ...]


def left_early(outcome: Outcome) -> np.ndarray:
    return outcome.trace.depth_B < len(outcome.record.tokens_LB)


def right(outcome: Outcome) -> np.ndarray:
    return outcome.trace.logits_BC.argmax(-1) == outcome.record.labels


def uniformity(logits_EBC: np.ndarray) -> np.ndarray:
    """WAFFLE's objective (Coalson et al. 2023): how near the early exits' guesses are to saying
    nothing, 0 (sure) to 1 (uniform), mean over exits."""
    num_classes = logits_EBC.shape[-1]
    return ((1 - softmax(logits_EBC, axis=-1).max(-1)) / (1 - 1 / num_classes)).mean(0)


def slowdown_score(outcome: Outcome, layers: Layers) -> np.ndarray:
    """Layers run count first; among equals, the less the early exits say."""
    guesses = [outcome.record.guesses[layer] for layer in layers]
    return outcome.trace.depth_B + uniformity(np.stack(guesses))


def evasion_score(outcome: Outcome, layers: Layers) -> np.ndarray:
    """Probability of a wrong answer where the example leaves, and one more where it is wrong and
    left early: sure of it, and cheaply. (Where nobody can leave early, one more where wrong.)"""
    rows_B, labels_B = np.arange(len(outcome.trace)), outcome.record.labels.astype(int)
    right_B = softmax(outcome.trace.logits_BC, axis=-1)[rows_B, labels_B]
    return 1 - right_B + evaded(outcome, layers)


def evaded(outcome: Outcome, layers: Layers) -> np.ndarray:
    """Wrong, and left early where anyone can."""
    return ~right(outcome) & (left_early(outcome) if layers else True)


def late(outcome: Outcome, layers: Layers) -> np.ndarray:
    return ~left_early(outcome)


GOALS = {
    goal.name: goal
    for goal in (
        Goal("slowdown", left_early, slowdown_score, late, ("characters", "words")),
        Goal("evasion", right, evasion_score, evaded, ("characters",)),
    )
}
