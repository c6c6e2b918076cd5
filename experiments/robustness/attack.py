"""Attacks on the exits of a run: a greedy search edits texts until they leave late (slowdown), or
wrong and early (evasion); then every rule judges the texts.

The search climbs the run's own exit logits, in the manner of WAFFLE (Coalson et al. 2023) and
TextFooler (Jin et al. 2020). Results hold numbers and no text. Shapes: B examples, E early exits,
L layers, C classes, M texts tried.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field
from scipy.special import softmax

from eat_lightning.bundle.torch_model import TorchModel
from eat_lightning.config import RunFolder, Settings
from eat_lightning.data.batching import spread_rows
from eat_lightning.data.source import Source
from eat_lightning.data.split import Split, tokenize
from eat_lightning.errors import ConfigError, Faults
from eat_lightning.methods.policy.veto import Veto
from eat_lightning.model.contracts import ExitRule, Policy
from eat_lightning.model.flops import flops, static_flops
from eat_lightning.model.heads import slot_faults
from eat_lightning.model.packed import Batch
from eat_lightning.model.policies import build_policies
from eat_lightning.model.specification import Specification
from eat_lightning.model.trace import Trace
from eat_lightning.progress import shown
from eat_lightning.record.record import Record
from eat_lightning.report.result import Result
from eat_lightning.runs.row import label
from eat_lightning.runs.run import Run, provenance
from eat_lightning.validation import Count

from .edits import Neighbours, Place, Text, places, variants, with_words

RULES: list[Any] = [
    *({"kind": "confidence", "tau": tau} for tau in (0.8, 0.9, 0.95)),
    {"kind": "confidence", "tau": 0.9, "policy": [{"kind": "veto", "margin": 0.95}]},
    {"kind": "patience", "patience": 1},
    {"kind": "never"},
]
Layers = tuple[int, ...]


class AttackSettings(Settings):
    """Settings of `attack`, as a person gives them: key=value.

    Args:
        goals: slowdown (past the exits), evasion (wrong, and early).
        kinds: of edits; None: characters and words for slowdown, characters for evasion.
        edits: words changed per example, at most.
        words: the most telling words that a round looks at.
        candidates: texts that a round tries per example.
        exit_rules: attacked, and judged under; one without layers looks at every early head.
        examples: spread evenly over the split.
        to: the file of results; None: attack.jsonl in the run's folder.
        batch: texts at once.
    """

    run: RunFolder
    goals: list[Literal["slowdown", "evasion"]] = Field(["slowdown", "evasion"])
    kinds: list[Literal["characters", "words"]] | None = None
    edits: Count = 3
    words: Count = 4
    candidates: Count = 16
    exit_rules: list[Any] = Field(RULES, alias="rules")
    examples: Count = 100
    split: str = "validation"
    seed: Annotated[int, Field(ge=0)] = 0
    to: str | None = None
    data: str | None = None
    batch: Count = 64
    threads: Count = 1


@dataclass(frozen=True)
class Verdict:
    """What a rule makes of texts of which all exits are recorded."""

    record: Record
    trace: Trace


def left_early(verdict: Verdict) -> np.ndarray:
    return verdict.trace.depth_B < len(verdict.record.tokens_LB)


def right(verdict: Verdict) -> np.ndarray:
    return verdict.trace.logits_BC.argmax(-1) == verdict.record.labels


def stayed(verdict: Verdict, layers: Layers) -> np.ndarray:
    return ~left_early(verdict)


def evaded(verdict: Verdict, layers: Layers) -> np.ndarray:
    """Wrong, and left early where anyone can."""
    return ~right(verdict) & (left_early(verdict) if layers else True)


def slowdown_score(verdict: Verdict, layers: Layers) -> np.ndarray:
    """Layers run count first; among equals, how near to uniform the early exits are (WAFFLE)."""
    logits_EBC = np.stack([verdict.record.guesses[layer] for layer in layers])
    unsure_EB = 1 - softmax(logits_EBC, axis=-1).max(-1)
    return verdict.trace.depth_B + (unsure_EB / (1 - 1 / logits_EBC.shape[-1])).mean(0)


def evasion_score(verdict: Verdict, layers: Layers) -> np.ndarray:
    """Probability of a wrong answer where the example leaves, and one more where it has evaded."""
    labels_B = verdict.record.labels.astype(int)
    right_B = softmax(verdict.trace.logits_BC, axis=-1)[np.arange(len(labels_B)), labels_B]
    return 1 - right_B + evaded(verdict, layers)


@dataclass(frozen=True)
class Goal:
    """What a search climbs: whom it `applies` to, how near each is, and who has `reached` it, under
    a rule that lets examples leave at `layers`."""

    name: str
    applies: Callable[[Verdict], np.ndarray]
    score: Callable[[Verdict, Layers], np.ndarray]
    reached: Callable[[Verdict, Layers], np.ndarray]
    kinds: tuple[str, ...]


GOALS = {
    "slowdown": Goal("slowdown", left_early, slowdown_score, stayed, ("characters", "words")),
    "evasion": Goal("evasion", right, evasion_score, evaded, ("characters",)),
}


@dataclass(frozen=True)
class Rule:
    """An exit rule, the layers at which it lets examples leave early, and its policies."""

    name: str
    exit: ExitRule
    layers: Layers
    policies: tuple[Policy, ...] = ()

    def judge(self, record: Record) -> Verdict:
        trace = replace(record, policies=self.policies).replay(self.exit)
        return Verdict(record, trace)


def rules_of(run: Run, specs: Sequence[Any]) -> list[Rule]:
    """Rules of different names. Patience, which compares exits, is left out where those are too
    few. ConfigError names every fault."""
    model = run.model_config()
    last, heads = model["num_layers"], model["head"]["layers"]
    early = [layer for layer in heads if layer < last]
    if run.task.regression or not early:
        lacks = "answers with a score" if run.task.regression else "has no early exit head"
        raise ConfigError(f"run={run.name} {lacks}: there is nothing to attack")
    rules, faults = {}, Faults()
    for given in specs:
        patient = isinstance(given, dict) and given.get("kind") == "patience"
        if patient and "layers" not in given and len(early) < 2:
            continue
        try:
            rule = rule_of(given, early, last)
            faults += slot_faults(rule.exit, heads, last, run.task.kind)
            rules[rule.name] = rule
        except (ValueError, TypeError) as error:
            faults += str(error).split("; ")
    faults.check()
    return [*rules.values()]


def rule_of(given: Any, early: Sequence[int], last: int) -> Rule:
    """{"kind": "confidence", "tau": 0.9, "policy": [{"kind": "veto", "margin": 0.95}]}."""
    if not isinstance(given, dict):
        raise ValueError(f'rules must hold dicts such as {{"kind": "<method>"}}, got {given!r}')
    rule = Specification.read("exit", {k: v for k, v in given.items() if k != "policy"})
    rule, named = rule.looking_at(early), given.get("policy", [])
    policies = build_policies(named)
    # Only an example's guesses are known: not its source, and no other run's guess.
    if not all(isinstance(policy, Veto) and policy.run is None for policy in policies):
        raise ValueError("rules: a policy that asks for more than guesses cannot be attacked here")
    words = [" ".join(map(str, policy.values())) for policy in named]
    exit = rule.build(last)
    early_layers = tuple(layer for layer in exit.layers if layer < last)
    return Rule(", ".join([label(rule), *words]), exit, early_layers, policies)


@dataclass
class Victim:
    """The model as an attacker sees it: texts in, every exit's logits out. Each text is run once
    and remembered; queries are counted by who asks."""

    backend: TorchModel
    batch: int
    known: dict[Text, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)

    @property
    def encoder(self) -> Any:
        return self.backend.encoder

    def __call__(self, texts: Sequence[Text], labels_B: np.ndarray) -> Record:
        self.run([text for text in dict.fromkeys(texts) if text not in self.known])
        found = [self.known[text] for text in texts]
        guesses_BEC = np.stack([guess_EC for guess_EC, _ in found])
        tokens_LB = np.stack([tokens_L for _, tokens_L in found], axis=1)
        guesses = {layer: guesses_BEC[:, e] for e, layer in enumerate(self.heads)}
        empty = Batch.from_lists([[]] * len(texts))  # policies are handed it, and none looks at it
        rule = self.encoder.exit
        return Record(labels_B, tokens_LB[0], guesses, tokens_LB, rule, batch=lambda rows: empty)

    @property
    def heads(self) -> list[int]:
        return sorted(int(layer) for layer in self.encoder.heads)

    def run(self, texts: list[Text]) -> None:
        if not texts:
            return
        columns = [list(column) for column in zip(*texts, strict=True)]
        tokens = tokenize(columns, self.backend.tokenizer, self.backend.max_length)
        source = Source(columns, np.zeros(len(texts), np.int64))
        record = self.backend.record(Split("attack", source, tokens, ""), self.batch)
        guesses_BEC = np.stack([record.guesses[layer] for layer in self.heads], axis=1)
        for text, guess_EC, tokens_L in zip(texts, guesses_BEC, record.tokens_LB.T, strict=True):
            self.known[text] = guess_EC, tokens_L

    def cost(self, rule: Rule, verdict: Verdict) -> np.ndarray:
        """FLOPs of each text."""
        tokens_LB, lengths_B = verdict.record.tokens_LB, verdict.record.lengths
        return flops(self.encoder, rule.exit, tokens_LB, verdict.trace.depth_B, lengths_B)

    def bound(self, rule: Rule) -> float:
        """FLOPs that no request can exceed: the length cap, no token dropped, every layer and every
        head of the rule."""
        layers = self.backend.num_layers
        tokens_L1 = np.full((layers, 1), self.backend.max_length)
        return float(flops(self.encoder, rule.exit, tokens_L1, np.array([layers]))[0])

    def worst(self, rule: Rule) -> float:
        """FLOPs of the costliest of all texts that were tried, under this rule."""
        texts = [*self.known]
        return float(self.cost(rule, rule.judge(self(texts, np.zeros(len(texts), np.int64)))).max())


@dataclass
class Attempt:
    """One example under attack.

    Args:
        original: its text, whose places `order` and `edited` name.
        order: its words, the most telling first.
        edited: the new word at each place changed.
    """

    original: Text
    label: int
    score: float = 0.0
    order: list[Place] = field(default_factory=list)
    edited: dict[Place, str] = field(default_factory=dict)
    queries: int = 0
    reached: bool = False

    @property
    def text(self) -> Text:
        return with_words(self.original, self.edited)


Trial = tuple[Attempt, dict[Place, str]]  # whose text is tried, and its edits


@dataclass
class Search:
    """The greedy choice of texts by a goal, under one rule. All examples go on together, so that a
    round's candidates fill the batches."""

    victim: Victim
    rule: Rule
    goal: Goal
    near: Neighbours
    plan: AttackSettings

    @property
    def kinds(self) -> list[str]:
        return [*(self.plan.kinds or self.goal.kinds)]

    def __call__(self, texts: Sequence[Text], labels_B: np.ndarray) -> list[Attempt]:
        """Each example's best text, which is its own where the goal does not apply to it."""
        attempts = [Attempt(*each) for each in zip(texts, labels_B.tolist(), strict=True)]
        clean, score_B = self.ask([(attempt, {}) for attempt in attempts])
        for attempt, score in zip(attempts, score_B, strict=True):
            attempt.score = float(score)
        reached_B = self.goal.reached(clean, self.rule.layers)
        live = np.flatnonzero(self.goal.applies(clean) & ~reached_B).tolist()
        self.rank([attempts[b] for b in live])
        title = f"{self.goal.name} against {self.rule.name}"
        for number in shown(range(self.plan.edits), title, fewest=2):
            trials = [trial for b in live for trial in self.trials_of(attempts[b], number, b)]
            if not trials:
                break
            self.take_best(trials)
            live = [b for b in live if not attempts[b].reached]
        return attempts

    def ask(self, trials: Sequence[Trial]) -> tuple[Verdict, np.ndarray]:
        """The rule's verdict on texts, and how near the goal each is."""
        for attempt, _ in trials:
            attempt.queries += 1
        texts = [with_words(attempt.original, edited) for attempt, edited in trials]
        labels_M = np.array([attempt.label for attempt, _ in trials])
        verdict = self.rule.judge(self.victim(texts, labels_M))
        return verdict, self.goal.score(verdict, self.rule.layers)

    def rank(self, attempts: Sequence[Attempt]) -> None:
        """Order each one's words by how near the goal the text is without them."""
        without = [(a, {place: ""}) for a in attempts for place in places(a.original)]
        if without:
            _, score_M = self.ask(without)
            for m in np.argsort(-score_M, kind="stable"):
                attempt, removed = without[m]
                attempt.order += removed

    def trials_of(self, attempt: Attempt, number: int, example: int) -> list[Trial]:
        """One more edit each, of the most telling words that are left."""
        rng = np.random.default_rng([self.plan.seed, number, example])
        left = [place for place in attempt.order if place not in attempt.edited]
        chosen, most = left[: self.plan.words], self.plan.candidates
        found = variants(attempt.original, chosen, self.kinds, self.near, most, rng)
        return [(attempt, attempt.edited | {place: word}) for place, word in found]

    def take_best(self, trials: Sequence[Trial]) -> None:
        """Take the best of each example's texts, where it is better than what there is."""
        verdict, score_M = self.ask(trials)
        reached_M = self.goal.reached(verdict, self.rule.layers)
        for m in np.argsort(-score_M, kind="stable"):
            attempt, edited = trials[m]
            if score_M[m] > attempt.score:  # the best comes first, so later ones are no better
                attempt.score, attempt.reached = float(score_M[m]), bool(reached_M[m])
                attempt.edited = edited


def attacked(run: Run, plan: AttackSettings) -> Iterator[Result]:
    """A result for each goal, rule attacked, and rule judged under."""
    rules, split = rules_of(run, plan.exit_rules), run.data(dir=plan.data).split(plan.split)
    rows_B = spread_rows(len(split), plan.examples)
    texts, labels_B = [split.text(int(i)) for i in rows_B], split.labels[rows_B].astype(np.int64)
    attempts = [(search, search(texts, labels_B)) for search in searches_of(run, rules, plan)]
    for search, found in attempts:
        for under in rules:  # when all are done: results name the costliest of all texts tried
            yield judged(run, search, under, found)


def searches_of(run: Run, rules: list[Rule], plan: AttackSettings) -> Iterator[Search]:
    """A search for each goal and rule; under a rule at which nobody leaves there is no slowdown."""
    backend = TorchModel.open(run.folder, policies=())
    near = Neighbours(backend.tokenizer.get_vocab(), backend.encoder.embedding.word.weight)
    victim = Victim(backend, plan.batch)
    for name in plan.goals:
        for rule in rules:
            if name != "slowdown" or rule.layers:
                print(f"{name} against {rule.name} ...", flush=True)
                yield Search(victim, rule, GOALS[name], near, plan)


def judged(run: Run, search: Search, under: Rule, attempts: Sequence[Attempt]) -> Result:
    """The texts before and after, judged under a rule. FLOPs are over those of the whole encoder on
    the texts before. ConfigError where a text cost more than the bound, which would be our fault.
    """
    victim, goal, plan = search.victim, search.goal, search.plan
    labels_B = np.array([attempt.label for attempt in attempts])
    before = under.judge(victim([attempt.original for attempt in attempts], labels_B))
    after = under.judge(victim([attempt.text for attempt in attempts], labels_B))
    whole_B = static_flops(victim.encoder, before.record.lengths)
    worst, bound = victim.worst(under), victim.bound(under)
    if worst > bound:
        raise ConfigError(f"a text cost {worst:.4g} FLOPs, and the bound is {bound:.4g}")
    applies_B, queries = goal.applies(before), [attempt.queries for attempt in attempts]
    values: dict[str, Any] = {
        "edits": float(np.mean([len(attempt.edited) for attempt in attempts])),
        "queries": float(np.mean(queries)),
        "queries_max": max(queries),
        "flops_max_after": float((victim.cost(under, after) / whole_B).max()),
        "flops_worst": worst / float(whole_B.mean()),
        "flops_bound": bound / float(whole_B.mean()),
        "sure_and_wrong": float(evaded(after, under.layers).mean()),
    }
    if applies_B.any():
        values["reached"] = float(goal.reached(after, under.layers)[applies_B].mean())
    for when, verdict in (("before", before), ("after", after)):
        of_texts = summary(verdict, victim.cost(under, verdict), whole_B)
        values |= {f"{name}_{when}": value for name, value in of_texts.items()}
    what = {"task": run.task.name, "goal": goal.name, "against": search.rule.name}
    what |= {"under": under.name, "seed": plan.seed}
    where = {"run": run.name, "num_examples": len(attempts), "kinds": search.kinds}
    where |= {"budget": {key: getattr(plan, key) for key in ("edits", "words", "candidates")}}
    where |= {"max_length": victim.backend.max_length, "split": plan.split} | provenance()
    return Result(what, values, where)


def summary(verdict: Verdict, flops_B: np.ndarray, whole_B: np.ndarray) -> dict[str, float]:
    depth_B = verdict.trace.depth_B
    found = {
        "exits": left_early(verdict).mean(),
        "depth": depth_B.mean(),
        "depth_p99": np.quantile(depth_B, 0.99),
        "flops": flops_B.mean() / whole_B.mean(),
        "flops_p99": np.quantile(flops_B / whole_B, 0.99),
        "accuracy": right(verdict).mean(),
    }
    return {name: float(value) for name, value in found.items()}
