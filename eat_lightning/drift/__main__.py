"""`python -m eat_lightning.drift run=<folder>`: what is normal for a run, and whether a stream is.

Without a stream it makes the reference; with one it says, as JSON lines, what the monitor found.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from eat_lightning.cli import entry
from eat_lightning.config import parsed
from eat_lightning.drift.plan import DriftPlan
from eat_lightning.errors import ConfigError

if TYPE_CHECKING:
    from eat_lightning.infer.backend import Backend
    from eat_lightning.runs.run import Run


def drift(config: dict[str, Any]) -> int:
    """Make the reference, or replay a stream; returns how many lines could not be read.

    Raises ConfigError, one line per fault, before anything long.
    """
    plan = parsed(DriftPlan, config)
    from eat_lightning.infer.onnx_backend import Export
    from eat_lightning.model.policies import policies_of
    from eat_lightning.predict.open import open_export, open_run
    from eat_lightning.runs.run import Run

    run, policies = Run.open(plan.run), policies_of(plan.policy)
    if plan.onnx:
        export = Export.open(plan.onnx, plan.threads)
        backend: Backend = open_export(export, plan.certificate, policies)
    else:
        import torch

        if plan.threads:
            torch.set_num_threads(plan.threads)
        backend = open_run(run, plan.exit, plan.dtype, plan.certificate, policies, plan.prepack)
    if not backend.labels:
        raise ConfigError("drift needs classes, and this run is a regression")
    if plan.stream is not None:
        return replay(plan, run, backend)
    write_references(plan, run, backend)
    return 0


def write_references(plan: DriftPlan, run: Run, backend: Backend) -> None:
    from eat_lightning.drift.reference import make_references

    split = run.data(dir=plan.data.dir).split("certificate")
    for reference in make_references(backend, split, plan.batch):
        whose = {} if reference.source is None else {"source": reference.source}
        saved = str(reference.write(backend))
        tell({"event": "reference", **whose, "examples": len(reference.seen), "saved": saved})


def replay(plan: DriftPlan, run: Run, backend: Backend) -> int:
    from eat_lightning.drift.decisions import DecisionLog
    from eat_lightning.drift.monitor import Monitor
    from eat_lightning.drift.reference import read_references
    from eat_lightning.drift.stream import open_stream
    from eat_lightning.drift.watch import Watch

    monitors = {
        source: Monitor(reference.seen, **plan.monitor.model_dump(), seed=plan.seed)
        for source, reference in read_references(backend).items()
    }
    stream = open_stream(plan, run, backend.columns)
    log = DecisionLog(plan.log, plan.log_text) if plan.log else None
    watch, num_bad = Watch(backend, monitors, log), 0
    for given in stream:
        num_bad += len(given.errors)
        try:
            events = watch(given.texts, given.about) if given.texts else []
        except OSError as error:
            raise ConfigError(f"log={plan.log}: {error.strerror}") from None
        for event in [*events, *given.errors]:
            tell(event)
    for source, monitor in monitors.items():
        tell({"event": "end"} | ({} if source is None else {"source": source}) | monitor.state())
    return num_bad


def tell(content: dict[str, Any]) -> None:
    print(json.dumps(content), flush=True)


main = entry("drift", drift)

if __name__ == "__main__":
    main()
