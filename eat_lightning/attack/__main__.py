"""`python -m eat_lightning.attack run=<folder>`: how a run's exits hold against chosen texts.

For each goal and rule a greedy search edits words; its texts are then judged under every rule.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eat_lightning.cli import entry
from eat_lightning.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np

    from eat_lightning.attack.edits import Text
    from eat_lightning.attack.rows import AttackRow
    from eat_lightning.attack.rules import Rule
    from eat_lightning.attack.victim import Victim
    from eat_lightning.runs.run import Run

GOALS = ("slowdown", "evasion")
KINDS = ("characters", "words")
DTYPE = "fp32"


def attack(config: dict[str, Any]) -> list[AttackRow]:
    """Attack, write rows, print a table; returns the rows.

    Raises ConfigError, one line per fault, before anything is loaded.
    """
    if faults := setting_faults(config):
        raise ConfigError.of(faults)
    import torch

    from eat_lightning.attack.rows import write
    from eat_lightning.attack.rules import rules_of
    from eat_lightning.attack.show import table_of
    from eat_lightning.measure.plan import data_faults
    from eat_lightning.report import tables
    from eat_lightning.runs.run import Run

    run = Run.open(config["run"])
    if faults := data_faults(run, config["split"], config["data"]):
        raise ConfigError.of(faults)
    rules = rules_of(run, config["rules"])
    torch.set_num_threads(config["threads"])
    rows = list(attacked(run, rules, config))
    folder = Path(config["to"] or run.folder / "attack")
    write(folder / "rows.jsonl", rows)
    for goal in dict.fromkeys(row.goal for row in rows):
        tables.show(table_of(rows, goal))
    print(f"written: {folder / 'rows.jsonl'}")
    return rows


def setting_faults(config: dict[str, Any]) -> list[str]:
    """Of what does not depend on a run."""
    from eat_lightning.infer.precision import prepack_faults
    from eat_lightning.measure.plan import whole_faults

    faults = []
    if not config["run"]:
        faults.append("run must name the folder of a finished run: run=outputs/...")
    for key, known in (("goals", GOALS), ("kinds", KINDS)):
        value = config[key]
        if value is None and key == "kinds":
            continue
        if not isinstance(value, list) or not value or not all(v in known for v in value):
            faults.append(f"{key} must be a list of {', '.join(known)}, got {value!r}")
    counts = ("edits", "words", "candidates", "examples", "batch", "threads", "most_tokens")
    given = {key: config[key] for key in counts if (key, config[key]) != ("most_tokens", None)}
    faults += whole_faults(given, 1)
    faults += whole_faults({"seed": config["seed"]}, 0)
    faults += prepack_faults(config["prepack"], DTYPE)
    if not isinstance(config["rules"], list) or not config["rules"]:
        faults.append(f"rules must be a list of exit rules, got {config['rules']!r}")
    return faults


@dataclass
class Chosen:
    """The examples that are attacked."""

    texts: list[Text]
    labels_B: np.ndarray


def chosen_of(run: Run, config: dict[str, Any]) -> tuple[Chosen, int]:
    """Evenly over the split, and the length cap in tokens."""
    import numpy as np

    data = run.data(**config["data"])
    split = data.split(config["split"])
    wanted = min(config["examples"], len(split))
    rows_B = np.unique(np.linspace(0, len(split) - 1, wanted).round().astype(np.int64))
    chosen = Chosen([split.text(int(i)) for i in rows_B], split.labels[rows_B].astype(np.int64))
    most = config["most_tokens"] or data.max_length
    return chosen, min(most, data.max_length)


def victim_of(run: Run, max_length: int, config: dict[str, Any]) -> Victim:
    from eat_lightning.attack.victim import Victim
    from eat_lightning.infer.precision import form_of, in_form

    encoder = in_form(run.model()[0], form_of(config["prepack"], DTYPE))
    return Victim(encoder, run.tokenizer(), max_length, config["batch"])


def attacked(run: Run, rules: dict[str, Rule], config: dict[str, Any]) -> Iterator[AttackRow]:
    """A row for each goal, rule attacked, and rule judged under."""
    from eat_lightning.attack.edits import Neighbours
    from eat_lightning.attack.goals import GOALS as KNOWN
    from eat_lightning.attack.greedy import Budget, search
    from eat_lightning.attack.rows import row_of
    from eat_lightning.runs.run import git_commit

    examples, max_length = chosen_of(run, config)
    victim = victim_of(run, max_length, config)
    weight_VD = victim.encoder.embedding.word.weight
    near = Neighbours(victim.tokenizer.get_vocab(), weight_VD)
    budget = Budget(config["edits"], config["words"], config["candidates"])
    made = []
    for name in config["goals"]:
        goal, kinds = KNOWN[name], tuple(config["kinds"] or KNOWN[name].kinds)
        for against, rule in rules.items():
            if name == "slowdown" and not rule.layers:
                continue  # nobody leaves, so nobody can be kept
            print(f"{name} against {against} ...", flush=True)
            how = (examples.texts, examples.labels_B, budget, kinds, near, config["seed"])
            made.append((name, against, kinds, search(victim, rule, goal, *how)))
    commit = git_commit() or ""
    for name, against, kinds, attempts in made:
        after = [attempt.text for attempt in attempts]
        for under, rule in rules.items():
            clean, changed = (
                rule.judge(victim(texts, examples.labels_B)) for texts in (examples.texts, after)
            )
            yield row_of(
                *(victim, rule, clean, changed, attempts, name),
                **{"task": run.task.name, "run": run.name, "model": str(run.config.get("model"))},
                **{"against": against, "under": under, "kinds": [*kinds], "commit": commit},
                **{"budget": vars(budget), "seed": config["seed"], "split": config["split"]},
            )


main = entry("attack", attack)

if __name__ == "__main__":
    main()
