"""One attack judged under one rule is one row. Rows hold numbers and no text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from eat_lightning.attack.goals import evaded, late, left_early, right
from eat_lightning.attack.greedy import Attempt
from eat_lightning.attack.rules import Rule
from eat_lightning.attack.victim import Victim
from eat_lightning.errors import ConfigError
from eat_lightning.infer.record import Outcome
from eat_lightning.model.flops import static_flops


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


def row_of(
    victim: Victim, under: Rule, goal: str, attempts: Sequence[Attempt], **about: Any
) -> AttackRow:
    """Judge the texts before and after under a rule. ConfigError where a text cost more than the
    bound says, which would be a fault of ours."""
    labels_B = np.array([attempt.label for attempt in attempts])
    clean = under.judge(victim([attempt.as_it_was for attempt in attempts], labels_B))
    attacked = under.judge(victim([attempt.text for attempt in attempts], labels_B))
    whole_B = static_flops(victim.encoder, clean.recorded.lengths)
    worst, bound = worst_of(victim, under), victim.bound(under)
    if worst > bound:
        raise ConfigError(f"a text cost {worst:.4g} FLOPs, and the bound is {bound:.4g}")
    before, after = (costs(victim, under, outcome, whole_B) for outcome in (clean, attacked))
    kept = ("exits", "depth", "depth_p99", "flops", "flops_p99", "accuracy")
    return AttackRow(
        goal=goal,
        under=under.name,
        num_examples=len(attempts),
        num_layers=victim.encoder.shape.num_layers,
        max_length=victim.max_length,
        edits=float(np.mean([len(attempt.edited) for attempt in attempts])),
        queries=float(np.mean([attempt.queries for attempt in attempts])),
        queries_max=max(attempt.queries for attempt in attempts),
        depth_max_after=int(after["depth_max"]),
        flops_max_after=after["flops_max"],
        flops_worst=worst / float(whole_B.mean()),
        flops_bound=bound / float(whole_B.mean()),
        reached=reached(goal, under, clean, attacked),
        sure_and_wrong=share(evaded(attacked, under.layers)),
        **{f"{name}_before": before[name] for name in kept},
        **{f"{name}_after": after[name] for name in kept},
        **about,
    )


def costs(victim: Victim, rule: Rule, outcome: Outcome, whole_B: np.ndarray) -> dict[str, float]:
    """Numbers of what a rule made of texts. whole_B: FLOPs of the whole encoder on them."""
    flops_B = victim.cost(rule, outcome.recorded, outcome.depth_B)
    found = {
        "exits": left_early(outcome).mean(),
        "depth": outcome.depth_B.mean(),
        "depth_p99": np.quantile(outcome.depth_B, 0.99),
        "depth_max": outcome.depth_B.max(),
        "flops": flops_B.mean() / whole_B.mean(),
        "flops_p99": np.quantile(flops_B / whole_B, 0.99),
        "flops_max": (flops_B / whole_B).max(),
        "accuracy": right(outcome).mean(),
    }
    return {name: float(value) for name, value in found.items()}


def worst_of(victim: Victim, rule: Rule) -> float:
    """The costliest of all texts that were asked, under this rule."""
    texts = [*victim.asked]
    recorded = victim(texts, np.zeros(len(texts), np.int64))
    return float(victim.cost(rule, recorded, rule.judge(recorded).depth_B).max())


def reached(goal: str, rule: Rule, clean: Outcome, attacked: Outcome) -> float | None:
    """Of those who left early, the share that no longer does; of those answered rightly, the share
    that is answered wrongly (and early, where the rule lets anyone). None where there is none."""
    chosen_B = left_early(clean) if goal == "slowdown" else right(clean)
    got_B = late(attacked, rule.layers) if goal == "slowdown" else evaded(attacked, rule.layers)
    return share(got_B[chosen_B]) if chosen_B.any() else None


def share(is_so_B: np.ndarray) -> float:
    return float(np.mean(is_so_B))
