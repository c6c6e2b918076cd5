"""Measure the row of a run's exit rule, from the pass that ends training or from a new one."""

from __future__ import annotations

from filelock import FileLock

from eat_lightning.composing import composed
from eat_lightning.evaluation.command import measure
from eat_lightning.evaluation.summary import show
from eat_lightning.model.specification import Specification
from eat_lightning.runs.row import read
from eat_lightning.runs.run import Run
from eat_lightning.runs.training_mark import marks, who_trains
from eat_lightning.train.plan import TrainSettings
from eat_lightning.train.processes import on_gpu


def measure_setting(run: Run, plan: TrainSettings) -> None:
    """Make sure that rows.jsonl has the exit rule of `plan`, timed beside the run's static
    backbone, and print it.
    """
    rule = Specification.of("exit", plan.methods.exit)
    rows = [r for r in read(run.folder / "rows.jsonl") if r.exit == rule and not r.baseline]
    lacks_time = plan.measure.enabled and all(row.latency_ms is None for row in rows)
    if lacks_time and add_timed_rows(run, plan):
        return
    if rows:
        show(rows, [run])
    else:
        add_rows(run, plan, timed=False)


def add_timed_rows(run: Run, plan: TrainSettings) -> bool:
    """Time a setting. Returns False, and prints how to do it later, while another run
    is training.
    """
    with FileLock(marks().with_suffix(".timing")):  # two that time would disturb each other
        if not (trains := who_trains()):
            add_rows(run, plan, timed=True)
            return True
    print(
        f"not timed, because another run is training on this machine (process {trains[0]}): run "
        f"the same command later, or python -m eat_lightning.measure run={run.folder}"
    )
    return False


def add_rows(run: Run, plan: TrainSettings, timed: bool) -> None:
    """Measure one exit rule of a finished run, as `python -m eat_lightning.measure` does."""
    config = composed("measure")
    device = "cuda" if on_gpu(plan.trainer) else "cpu"
    config |= {"run": str(run.folder), "exit": plan.exit, "device": device}
    config["timing"] |= {"enabled": timed, "examples": plan.measure.examples}
    measure(config | {"baselines": "own" if timed else "none"})
