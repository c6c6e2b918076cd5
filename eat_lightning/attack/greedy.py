"""A greedy search by the run's own exit logits, in the manner of WAFFLE (Coalson et al. 2023) and
TextFooler (Jin et al. 2020): the words that matter first, the best edit each time.

All examples go on together, so that a round's candidates fill the batches. Shapes: B examples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from eat_lightning.attack.edits import Neighbours, Place, Text, places, variants, with_words
from eat_lightning.attack.goals import Goal
from eat_lightning.attack.rules import Rule
from eat_lightning.attack.victim import Victim
from eat_lightning.infer.record import Outcome


@dataclass(frozen=True)
class Budget:
    """edits: words changed per example, at most. words: the most telling ones that a round looks
    at. candidates: texts that a round tries per example. An example then costs no more queries than
    1 + its words + edits x candidates."""

    edits: int = 3
    words: int = 4
    candidates: int = 16


@dataclass
class Attempt:
    """One example under attack. order: its words, the most telling first. edited: the new word at
    each place changed; places are those of the text `as_it_was`."""

    as_it_was: Text
    score: float
    order: list[Place] = field(default_factory=list)
    edited: dict[Place, str] = field(default_factory=dict)
    queries: int = 1
    reached: bool = False

    @property
    def text(self) -> Text:
        return with_words(self.as_it_was, self.edited)


def search(
    victim: Victim,
    rule: Rule,
    goal: Goal,
    texts: Sequence[Text],
    labels_B: np.ndarray,
    budget: Budget,
    kinds: Sequence[str],
    near: Neighbours,
    seed: int = 0,
) -> list[Attempt]:
    """Each example's best text, which is its own where the goal does not apply to it."""
    judge = Judge(victim, rule, goal, labels_B)
    clean, score_B = judge(texts, np.arange(len(texts)))
    attempts = [Attempt(text, score) for text, score in zip(texts, score_B, strict=True)]
    live = [int(b) for b in np.flatnonzero(goal.applies(clean) & ~judge.reached(clean))]
    rank(judge, attempts, live)
    for number in range(budget.edits):
        tried = []
        for b in live:
            attempt, rng = attempts[b], np.random.default_rng([seed, number, b])
            left = [place for place in attempt.order if place not in attempt.edited]
            chosen, most = left[: budget.words], budget.candidates
            found = variants(attempt.as_it_was, chosen, kinds, near, most, rng)
            tried += [(b, attempt.edited | {place: word}) for place, word in found]
        if not tried:
            break
        take_best(judge, attempts, tried)
        live = [b for b in live if not attempts[b].reached]
    return attempts


@dataclass
class Judge:
    """What a goal makes of texts under one rule."""

    victim: Victim
    rule: Rule
    goal: Goal
    labels_B: np.ndarray

    def __call__(self, texts: Sequence[Text], rows: np.ndarray) -> tuple[Outcome, np.ndarray]:
        """rows: which example each text is of."""
        outcome = self.rule.judge(self.victim(texts, self.labels_B[rows]))
        return outcome, self.goal.score(outcome, self.rule.layers)

    def reached(self, outcome: Outcome) -> np.ndarray:
        return self.goal.reached(outcome, self.rule.layers)


def rank(judge: Judge, attempts: list[Attempt], live: list[int]) -> None:
    """Order each one's words by how near the goal the text is without them."""
    without = [(b, place) for b in live for place in places(attempts[b].text)]
    if not without:
        return
    texts = [with_words(attempts[b].text, {place: ""}) for b, place in without]
    _, score_M = judge(texts, np.array([b for b, _ in without]))
    for m in np.argsort(-score_M, kind="stable"):
        b, place = without[m]
        attempts[b].order.append(place)
        attempts[b].queries += 1


def take_best(
    judge: Judge, attempts: list[Attempt], tried: list[tuple[int, dict[Place, str]]]
) -> None:
    """Of each example's candidates the best, where it is better than what there is."""
    texts = [with_words(attempts[b].as_it_was, edited) for b, edited in tried]
    outcome, score_M = judge(texts, np.array([b for b, _ in tried]))
    reached_M = judge.reached(outcome)
    for m in np.argsort(-score_M, kind="stable"):
        b, edited = tried[m]
        attempt = attempts[b]
        attempt.queries += 1
        if score_M[m] > attempt.score:  # the best comes first, so later ones are no better
            attempt.score, attempt.reached = float(score_M[m]), bool(reached_M[m])
            attempt.edited = edited
