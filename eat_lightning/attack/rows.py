"""One attack judged under one rule is one row: its schema, and how it is counted. No texts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eat_lightning.attack.goals import evaded, late, left_early, right
from eat_lightning.attack.greedy import Attempt
from eat_lightning.attack.rules import Rule
from eat_lightning.attack.victim import Victim
from eat_lightning.errors import ConfigError
from eat_lightning.infer.record import Outcome
from eat_lightning.model.flops import static_flops
from eat_lightning.runs.run import write_text
from eat_lightning.weights.untrusted import one_line, parsed


@dataclass(frozen=True)
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
    def transfer(self) -> bool:
        return self.against != self.under


def row_of(
    victim: Victim,
    rule: Rule,
    clean: Outcome,
    attacked: Outcome,
    attempts: Sequence[Attempt],
    goal: str,
    **more: Any,
) -> AttackRow:
    """clean, attacked: the texts before and after, under `rule`. ConfigError where a text cost more
    than the bound says, which would be a fault of ours."""
    whole_B = static_flops(victim.encoder, clean.recorded.lengths)
    costs = {
        "before": victim.cost(rule, clean.recorded, clean.depth_B),
        "after": victim.cost(rule, attacked.recorded, attacked.depth_B),
    }
    worst, bound = worst_of(victim, rule), victim.bound(rule)
    if worst > bound:
        raise ConfigError(f"a text cost {worst:.4g} FLOPs, and the bound is {bound:.4g}")
    measured: dict[str, Any] = {}
    for when, outcome in (("before", clean), ("after", attacked)):
        ratio_B = costs[when] / whole_B
        measured |= {
            f"exits_{when}": share(left_early(outcome)),
            f"depth_{when}": float(outcome.depth_B.mean()),
            f"depth_p99_{when}": float(np.quantile(outcome.depth_B, 0.99)),
            f"flops_{when}": float(costs[when].mean() / whole_B.mean()),
            f"flops_p99_{when}": float(np.quantile(ratio_B, 0.99)),
            f"accuracy_{when}": share(right(outcome)),
        }
    return AttackRow(
        goal=goal,
        num_examples=len(attempts),
        num_layers=victim.encoder.shape.num_layers,
        max_length=victim.max_length,
        edits=float(np.mean([len(attempt.edited) for attempt in attempts])),
        queries=float(np.mean([attempt.queries for attempt in attempts])),
        queries_max=max(attempt.queries for attempt in attempts),
        depth_max_after=int(attacked.depth_B.max()),
        flops_max_after=float((costs["after"] / whole_B).max()),
        flops_worst=worst / float(whole_B.mean()),
        flops_bound=bound / float(whole_B.mean()),
        reached=reached(goal, rule, clean, attacked),
        sure_and_wrong=share(evaded(attacked, rule.layers)),
        **measured,
        **more,
    )


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


def write(path: Path, rows: Sequence[AttackRow]) -> None:
    """In place of rows of the same run and seed."""
    fresh = {(row.run, row.seed) for row in rows}
    kept = [row for row in read(path) if (row.run, row.seed) not in fresh]
    write_text(path, "".join(json.dumps(asdict(row)) + "\n" for row in [*kept, *rows]))


def read(path: Path) -> list[AttackRow]:
    """None where there is no file; ConfigError names a damaged line."""
    if not path.is_file():
        return []
    rows = []
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        try:
            rows.append(AttackRow(**parsed(line)))
        except (ValueError, TypeError) as error:
            raise ConfigError(f"{path}, line {number}: not a row ({one_line(error)})") from None
    return rows
