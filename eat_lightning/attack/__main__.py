"""`python -m eat_lightning.attack run=<folder>`: how a run's exits hold against chosen texts.

For each goal and rule a greedy search edits words; its texts are then judged under every rule.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eat_lightning.cli import entry
from eat_lightning.config import parsed
from eat_lightning.errors import ConfigError

if TYPE_CHECKING:
    from eat_lightning.attack.greedy import Search
    from eat_lightning.attack.plan import AttackPlan
    from eat_lightning.attack.rows import AttackRow
    from eat_lightning.attack.rules import Rule
    from eat_lightning.runs.run import Run


def attack(config: dict[str, Any]) -> list[AttackRow]:
    """Attack, write rows, print a table for each goal; returns the rows.

    Raises ConfigError, one line per fault, before anything is loaded.
    """
    import torch

    from eat_lightning.attack.plan import AttackPlan
    from eat_lightning.attack.rows import AttackRow
    from eat_lightning.attack.rules import rules_of
    from eat_lightning.attack.table import table_of
    from eat_lightning.measure.plan import data_faults
    from eat_lightning.report import tables
    from eat_lightning.runs import jsonl
    from eat_lightning.runs.run import Run

    plan = parsed(AttackPlan, config)
    run = Run.open(plan.run)
    if faults := data_faults(run, plan.split, plan.data.model_dump()):
        raise ConfigError.of(faults)
    rules = rules_of(run, plan.exit_rules)
    torch.set_num_threads(plan.threads)
    rows = list(attacked(run, rules, plan))
    path = Path(plan.to or run.folder / "attack") / "rows.jsonl"
    jsonl.update(path, AttackRow, rows)
    for goal in plan.goals:
        table = table_of(rows, goal)
        tables.show(table)
        print(table.caption, end="\n\n")
    print(f"written: {path}")
    return rows


def attacked(run: Run, rules: list[Rule], plan: AttackPlan) -> Iterator[AttackRow]:
    """Make a row for each goal, rule attacked, and rule judged under."""
    import numpy as np

    from eat_lightning.attack.rows import row_of
    from eat_lightning.data.batching import spread_rows
    from eat_lightning.runs.run import git_commit

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


def searches_of(run: Run, rules: list[Rule], plan: AttackPlan) -> Iterator[Search]:
    """A search for each goal and rule, all of the same model; each is named before it begins."""
    from eat_lightning.attack.edits import Neighbours
    from eat_lightning.attack.goals import GOALS
    from eat_lightning.attack.greedy import Budget, Search
    from eat_lightning.attack.victim import Victim
    from eat_lightning.runs.open import open_run

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


main = entry("attack", attack)

if __name__ == "__main__":
    main()
