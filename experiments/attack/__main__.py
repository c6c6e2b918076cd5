"""`python -m experiments.attack run=<folder>`: how a run's exits hold against chosen texts.

For each goal and rule a greedy search edits words; its texts are then judged under every rule.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from eat_lightning.cli import entry
from eat_lightning.config import parsed
from eat_lightning.errors import ConfigError

if TYPE_CHECKING:
    from experiments.attack.rows import AttackRow


def attack(config: dict[str, Any]) -> list[AttackRow]:
    """Attack, write rows, print a table for each goal; returns the rows.

    Raises ConfigError, one line per fault, before anything is loaded.
    """
    import torch

    from eat_lightning.measure.plan import data_faults
    from eat_lightning.runs import jsonl
    from eat_lightning.runs.run import Run
    from experiments.attack.plan import AttackSettings
    from experiments.attack.rows import AttackRow, attacked
    from experiments.attack.rules import rules_of
    from experiments.attack.table import table_of

    plan = parsed(AttackSettings, config)
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
        table.show()
        print(table.caption, end="\n\n")
    print(f"written: {path}")
    return rows


main = entry("attack", attack, folder=str(Path(__file__).parent))

if __name__ == "__main__":
    main()
