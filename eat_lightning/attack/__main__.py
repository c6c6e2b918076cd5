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
    import numpy as np

    from eat_lightning.attack.edits import Text
    from eat_lightning.attack.plan import AttackPlan
    from eat_lightning.attack.rows import AttackRow
    from eat_lightning.attack.rules import Rule
    from eat_lightning.attack.victim import Victim
    from eat_lightning.runs.run import Run


def attack(config: dict[str, Any]) -> list[AttackRow]:
    """Attack, write rows, print a table for each goal; returns the rows.

    Raises ConfigError, one line per fault, before anything is loaded.
    """
    import torch
    from rich.console import Console

    from eat_lightning.attack.plan import AttackPlan
    from eat_lightning.attack.rows import AttackRow
    from eat_lightning.attack.rules import rules_of
    from eat_lightning.attack.show import table_of
    from eat_lightning.measure.plan import data_faults
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
    console = Console()
    console.width = max(console.width, 150)  # where nobody looks on, the table is still whole
    for goal in plan.goals:
        console.print(table_of(rows, goal))
    print(f"written: {path}")
    return rows


def attacked(run: Run, rules: dict[str, Rule], plan: AttackPlan) -> Iterator[AttackRow]:
    """Make a row for each goal, rule attacked, and rule judged under."""
    from eat_lightning.attack.edits import Neighbours
    from eat_lightning.attack.goals import GOALS
    from eat_lightning.attack.greedy import Budget, Search
    from eat_lightning.attack.rows import row_of
    from eat_lightning.runs.run import git_commit

    texts, labels_B, victim = chosen(run, plan)
    near = Neighbours(victim.tokenizer.get_vocab(), victim.encoder.embedding.word.weight)
    budget = Budget(plan.edits, plan.words, plan.candidates)
    searches = []
    for name in plan.goals:
        for against, rule in rules.items():
            if name == "slowdown" and not rule.layers:
                continue  # nobody leaves, so nobody can be kept
            print(f"{name} against {against} ...", flush=True)
            kinds = plan.kinds or GOALS[name].kinds
            search = Search(victim, rule, GOALS[name], budget, kinds, near, plan.seed)
            searches.append((name, search, search(texts, labels_B)))
    about = {
        "task": run.task.name,
        "run": run.name,
        "model": str(run.config.get("model")),
        "split": plan.split,
        "seed": plan.seed,
        "budget": vars(budget),
        "commit": git_commit() or "",
    }
    for name, search, attempts in searches:
        by_search = {"against": search.rule.name, "kinds": [*search.kinds]}
        for under in rules.values():  # when all have been asked: rows name the worst of all texts
            yield row_of(victim, under, name, attempts, **about, **by_search)


def chosen(run: Run, plan: AttackPlan) -> tuple[list[Text], np.ndarray, Victim]:
    """The texts that are attacked, evenly over the split, their labels, and the model."""
    import numpy as np

    from eat_lightning.attack.plan import DTYPE
    from eat_lightning.attack.victim import Victim
    from eat_lightning.infer.precision import form_of, in_form

    data = run.data(dir=plan.data.dir)
    split = data.split(plan.split)
    wanted = min(plan.examples, len(split))
    rows_B = np.unique(np.linspace(0, len(split) - 1, wanted).round().astype(np.int64))
    encoder = in_form(run.model()[0], form_of(plan.prepack, DTYPE))
    max_length = min(plan.most_tokens or data.max_length, data.max_length)
    victim = Victim(encoder, run.tokenizer(), max_length, plan.batch)
    return [split.text(int(i)) for i in rows_B], split.labels[rows_B].astype(np.int64), victim


main = entry("attack", attack)

if __name__ == "__main__":
    main()
