"""A greedy search by the run's own exit logits, in the manner of WAFFLE (Coalson et al. 2023) and
TextFooler (Jin et al. 2020): the words that matter first, the best edit each time.

All examples go on together, so that a round's candidates fill the batches. Shapes: B examples, M
texts tried.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from eat_lightning.progress import shown
from eat_lightning.runs.open import open_run
from eat_lightning.runs.run import Run
from experiments.attack.edits import Neighbours, Place, Text, places, variants, with_words
from experiments.attack.goals import GOALS, Goal
from experiments.attack.plan import AttackSettings
from experiments.attack.rules import Outcome, Rule
from experiments.attack.victim import Victim


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
    label: int
    score: float = 0.0
    order: list[Place] = field(default_factory=list)
    edited: dict[Place, str] = field(default_factory=dict)
    queries: int = 0
    reached: bool = False

    @property
    def text(self) -> Text:
        return with_words(self.as_it_was, self.edited)


@dataclass
class Trial:
    """A text that is tried for an attempt."""

    attempt: Attempt
    edited: dict[Place, str]


@dataclass
class Search:
    """Choice of texts by a goal, under one rule, within a budget. kinds: of edits."""

    victim: Victim
    rule: Rule
    goal: Goal
    budget: Budget
    kinds: Sequence[str]
    near: Neighbours
    seed: int = 0

    def __call__(self, texts: Sequence[Text], labels_B: np.ndarray) -> list[Attempt]:
        """Each example's best text, which is its own where the goal does not apply to it."""
        attempts = [Attempt(*each) for each in zip(texts, labels_B.tolist(), strict=True)]
        clean, score_B = self.ask([Trial(attempt, {}) for attempt in attempts])
        for attempt, score in zip(attempts, score_B, strict=True):
            attempt.score = float(score)
        reached_B = self.goal.reached(clean, self.rule.layers)
        live = np.flatnonzero(self.goal.applies(clean) & ~reached_B).tolist()
        self.rank([attempts[b] for b in live])
        title = f"{self.goal.name} against {self.rule.name}"
        for number in shown(range(self.budget.edits), title, fewest=2):
            trials = []
            for b in live:
                rng = np.random.default_rng([self.seed, number, b])
                trials += self.trials_of(attempts[b], rng)
            if not trials:
                break
            self.take_best(trials)
            live = [b for b in live if not attempts[b].reached]
        return attempts

    def ask(self, trials: Sequence[Trial]) -> tuple[Outcome, np.ndarray]:
        """Return the rule's outcome for texts, and how near the goal each is."""
        for trial in trials:
            trial.attempt.queries += 1
        texts = [with_words(trial.attempt.as_it_was, trial.edited) for trial in trials]
        labels_M = np.array([trial.attempt.label for trial in trials])
        outcome = self.rule.judge(self.victim(texts, labels_M))
        return outcome, self.goal.score(outcome, self.rule.layers)

    def rank(self, attempts: Sequence[Attempt]) -> None:
        """Order each one's words by how near the goal the text is without them."""
        without = [Trial(a, {place: ""}) for a in attempts for place in places(a.as_it_was)]
        if without:
            _, score_M = self.ask(without)
            for m in np.argsort(-score_M, kind="stable"):
                without[m].attempt.order += without[m].edited

    def trials_of(self, attempt: Attempt, rng: np.random.Generator) -> list[Trial]:
        """One more edit each, of the most telling words that are left."""
        left = [place for place in attempt.order if place not in attempt.edited]
        chosen, most = left[: self.budget.words], self.budget.candidates
        found = variants(attempt.as_it_was, chosen, self.kinds, self.near, most, rng)
        return [Trial(attempt, attempt.edited | {place: word}) for place, word in found]

    def take_best(self, trials: Sequence[Trial]) -> None:
        """Take the best of each example's texts, where it is better than what there is."""
        outcome, score_M = self.ask(trials)
        reached_M = self.goal.reached(outcome, self.rule.layers)
        for m in np.argsort(-score_M, kind="stable"):
            attempt = trials[m].attempt
            if score_M[m] > attempt.score:  # the best comes first, so later ones are no better
                attempt.score, attempt.reached = float(score_M[m]), bool(reached_M[m])
                attempt.edited = trials[m].edited


def searches_of(run: Run, rules: list[Rule], plan: AttackSettings) -> Iterator[Search]:
    """A search for each goal and rule, all of the same model; each is named before it begins."""
    backend = open_run(run, policies=(), prepack=plan.prepack)
    backend.max_length = min(plan.most_tokens or backend.max_length, backend.max_length)
    victim = Victim(backend, plan.batch)
    near = Neighbours(backend.tokenizer.get_vocab(), backend.encoder.embedding.word.weight)
    budget = Budget(plan.edits, plan.words, plan.candidates)
    for goal in (GOALS[name] for name in plan.goals):
        for rule in rules:
            if goal.name == "slowdown" and not rule.layers:
                continue  # nobody leaves, so nobody can be kept
            print(f"{goal.name} against {rule.name} ...", flush=True)
            yield Search(victim, rule, goal, budget, plan.kinds or goal.kinds, near, plan.seed)
