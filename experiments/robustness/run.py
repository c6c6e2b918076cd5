"""Make the rows of this study.

    python -m experiments.robustness.run drift sst2=RUN mnli=RUN data=FOLDER records=FOLDER
    python -m experiments.robustness.run attack run=RUN examples=100 to=FILE

`drift` records each stream once (kept in `records`), replays the monitors and writes drift.jsonl.
`attack` works on any finished run: what it prints is of that run, and its results go to `to`, or
to attack.jsonl in the run's folder.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from eat_lightning.config import parsed
from eat_lightning.errors import ConfigError, reported
from eat_lightning.report import result
from eat_lightning.report.result import Result
from eat_lightning.runs.run import Run
from experiments.study import given_of

RESULTS = Path(__file__).parent / "results"


def drift(words: Sequence[str]) -> None:
    """Write the drift trials of the runs that are given."""
    from .drift import record_streams, trials

    given = given_of(words, ("sst2", "mnli", "records"), needs=("data",))
    folder = Path(given.get("records", "outputs/drift"))
    for task in ("sst2", "mnli"):
        if path := given.get(task):
            recorded = record_streams(Run.open(path), Path(given["data"]), folder)
            found = list(trials(task, recorded))
            result.update(RESULTS / "drift.jsonl", found)
            print(f"{task}: {len(found)} trials")


def attack(words: Sequence[str]) -> list[Result]:
    """Attack a run; print its tables and return the results, which are written."""
    import torch

    from .attack import AttackSettings, attacked
    from .claim import attack_tables

    keys = [field.alias or name for name, field in AttackSettings.model_fields.items()]
    plan = parsed(AttackSettings, given_of(words, keys, needs=("run",)))
    run = Run.open(plan.run)
    torch.set_num_threads(plan.threads)
    found = list(attacked(run, plan))
    path = Path(plan.to) if plan.to else run.folder / "attack.jsonl"
    result.update(path, found)
    for table in attack_tables(found):
        table.show()
    print(f"written: {path}")
    return found


STEPS = {"drift": drift, "attack": attack}


def main(words: Sequence[str]) -> None:
    step, *given = words or [""]
    if step not in STEPS:
        raise ConfigError(f"a step must be one of {', '.join(STEPS)}, got {step!r}")
    STEPS[step](given)


if __name__ == "__main__":
    with reported():
        main(sys.argv[1:])
