"""The row of a run's exit rule: from the pass that ends training, or from one more, and timed."""

from __future__ import annotations

from contextlib import nullcontext

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from eat_lightning.config import CONFIG_DIR, make, plain
from eat_lightning.measure.__main__ import measure
from eat_lightning.measure.summary import show
from eat_lightning.model.contracts import spec
from eat_lightning.runs.row import Row, read
from eat_lightning.runs.run import Run, who_trains
from eat_lightning.train.plan import TrainPlan


def measure_setting(run: Run, plan: TrainPlan) -> None:
    """See that rows.jsonl has the exit rule of `plan`, timed beside its own static, and show it.

    Nothing is timed while another run trains here: then a line says how to do it later.
    """
    trains = who_trains() if plan.measure.enabled else []
    timed = plan.measure.enabled and not trains
    rows = rows_of(run, plan)
    if rows and (not timed or any(row.latency_ms is not None for row in rows)):
        show(rows, [run])
    else:
        add_rows(run, plan, timed)
    if trains and not any(row.latency_ms is not None for row in rows_of(run, plan)):
        print(
            f"not timed, since another run trains here (process {trains[0]}): give the same "
            f"command again later, or python -m eat_lightning.measure run={run.folder}"
        )


def rows_of(run: Run, plan: TrainPlan) -> list[Row]:
    """The rows of this exit rule that a run has already."""
    rule = spec("exit", make(plan.exit))
    return [r for r in read(run.folder / "rows.jsonl") if r.exit == rule and not r.baseline]


def add_rows(run: Run, plan: TrainPlan, timed: bool) -> None:
    """Measure one exit rule of a finished run as `python -m eat_lightning.measure` would."""
    inside = GlobalHydra.instance().is_initialized()  # as a job: then Hydra is asked as it runs
    with nullcontext() if inside else initialize_config_dir(CONFIG_DIR, version_base="1.3"):
        config = plain(compose("measure"))
    on_gpu = plan.trainer.get("accelerator") in ("gpu", "cuda")
    config |= {"run": str(run.folder), "exit": plan.exit, "device": "cuda" if on_gpu else "cpu"}
    config["timing"] |= {"enabled": timed, "examples": plan.measure.examples}
    measure(config | {"baselines": "own" if timed else "none"})
