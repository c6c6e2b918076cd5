"""One attack judged under one rule is one row. Rows hold numbers and no text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from eat_lightning.data.batching import spread_rows
from eat_lightning.errors import ConfigError
from eat_lightning.model.flops import static_flops
from eat_lightning.runs.run import Run, git_commit
from experiments.attack.goals import evaded, left_early, right
from experiments.attack.greedy import Attempt, Search, searches_of
from experiments.attack.plan import AttackSettings
from experiments.attack.rules import Outcome, Rule


@dataclass(frozen=True, config=ConfigDict(strict=True, extra="forbid"))
class AttackRow:
    """against: the rule whose logits the search climbed; under: the rule that then judged its texts
    (another one: transfer). Shares are of all `num_examples` texts, attacked or not; but reached:
    of those that the goal applies to under this rule, the share that it got.

    FLOPs are over those of the whole encoder (dense, every token, every layer) on the same text
    before the attack, so that longer texts count. flops_bound is the most that any text can cost
    under the rule, over the mean text's; flops_worst is of the costliest of all texts that the
    attack asked, on the same scale.
    """

    task: str
    run: str
    model: str
    goal: str
    against: str
    under: str
    num_examples: int
    num_layers: int
    seed: int
    kinds: list[str]
    budget: dict[str, int]
    edits: float
    queries: float
    queries_max: int
    exits_before: float
    exits_after: float
    depth_before: float
    depth_after: float
    depth_p99_before: float
    depth_p99_after: float
    depth_max_after: int
    flops_before: float
    flops_after: float
    flops_p99_before: float
    flops_p99_after: float
    flops_max_after: float
    flops_worst: float
    flops_bound: float
    accuracy_before: float
    accuracy_after: float
    reached: float | None
    sure_and_wrong: float
    max_length: int
    split: str = "validation"
    commit: str = ""

    @property
    def key(self) -> tuple[str, int]:
        """All rows of a run and a seed are made together, and replaced together."""
        return self.run, self.seed

    @property
    def transfer(self) -> bool:
        return self.against != self.under


def attacked(run: Run, rules: list[Rule], plan: AttackSettings) -> Iterator[AttackRow]:
    """Make a row for each goal, rule attacked, and rule judged under."""
    split = run.data(dir=plan.data.dir).split(plan.split)
    rows_B = spread_rows(len(split), plan.examples)
    texts, labels_B = [split.text(int(i)) for i in rows_B], split.labels[rows_B].astype(np.int64)
    attempts = [(search, search(texts, labels_B)) for search in searches_of(run, rules, plan)]
    about = {
        "task": run.task.name,
        "run": run.name,
        "model": str(run.config.get("model")),
        "split": plan.split,
        "commit": git_commit() or "",
    }
    for search, found in attempts:
        for under in rules:  # when all have been asked: rows name the worst of all texts
            yield row_of(search, under, found, about)


def row_of(
    search: Search, under: Rule, attempts: Sequence[Attempt], about: Mapping[str, Any]
) -> AttackRow:
    """Judge the texts before and after under a rule. ConfigError where a text cost more than the
    bound says, which would be a fault of ours. about: the row's fields of the run."""
    victim, goal = search.victim, search.goal
    worst, bound = victim.worst(under), victim.bound(under)
    if worst > bound:
        raise ConfigError(f"a text cost {worst:.4g} FLOPs, and the bound is {bound:.4g}")
    labels_B = np.array([attempt.label for attempt in attempts])
    clean = under.judge(victim([attempt.as_it_was for attempt in attempts], labels_B))
    attacked = under.judge(victim([attempt.text for attempt in attempts], labels_B))
    whole_B = static_flops(victim.backend.encoder, clean.record.lengths)
    flops_B = victim.cost(under, attacked.record, attacked.trace.depth_B)
    applies_B, queries = goal.applies(clean), [attempt.queries for attempt in attempts]
    reached_B = goal.reached(attacked, under.layers)[applies_B]
    return AttackRow(
        goal=goal.name,
        against=search.rule.name,
        under=under.name,
        num_examples=len(attempts),
        num_layers=victim.num_layers,
        max_length=victim.max_length,
        seed=search.seed,
        kinds=[*search.kinds],
        budget=vars(search.budget),
        edits=float(np.mean([len(attempt.edited) for attempt in attempts])),
        queries=float(np.mean(queries)),
        queries_max=max(queries),
        depth_max_after=int(attacked.trace.depth_B.max()),
        flops_max_after=float((flops_B / whole_B).max()),
        flops_worst=worst / float(whole_B.mean()),
        flops_bound=bound / float(whole_B.mean()),
        reached=float(reached_B.mean()) if applies_B.any() else None,
        sure_and_wrong=float(evaded(attacked, under.layers).mean()),
        **moved("before", search, under, clean, whole_B),
        **moved("after", search, under, attacked, whole_B),
        **about,
    )


def moved(
    when: str, search: Search, rule: Rule, outcome: Outcome, whole_B: np.ndarray
) -> dict[str, float]:
    """List the numbers that an attack changes, by the row's fields that end in `when`. whole_B:
    FLOPs of the whole encoder on the texts as they were."""
    flops_B = search.victim.cost(rule, outcome.record, outcome.trace.depth_B)
    found = {
        "exits": left_early(outcome).mean(),
        "depth": outcome.trace.depth_B.mean(),
        "depth_p99": np.quantile(outcome.trace.depth_B, 0.99),
        "flops": flops_B.mean() / whole_B.mean(),
        "flops_p99": np.quantile(flops_B / whole_B, 0.99),
        "accuracy": right(outcome).mean(),
    }
    return {f"{name}_{when}": float(value) for name, value in found.items()}
