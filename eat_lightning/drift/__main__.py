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
    from eat_lightning.engines.open import open_backend
    from eat_lightning.runs.run import Run

    run, backend = Run.open(plan.run), open_backend(plan, plan.onnx)
    if not backend.labels:
        raise ConfigError("drift needs classes, and this run is a regression")
    if plan.stream is not None:
        return replay(plan, run, backend)
    write_references(plan, run, backend)
    return 0


def write_references(plan: DriftPlan, run: Run, backend: Backend) -> None:
    from eat_lightning.drift.reference import make_references
    from eat_lightning.drift.watch import named

    split = run.data(dir=plan.data.dir).split("certificate")
    for reference in make_references(backend, split, plan.batch):
        made = {"examples": len(reference.seen), "saved": str(reference.write(backend))}
        tell({"event": "reference"} | named(reference.source) | made)


def replay(plan: DriftPlan, run: Run, backend: Backend) -> int:
    from eat_lightning.drift.decisions import DecisionLog
    from eat_lightning.drift.monitor import Monitor
    from eat_lightning.drift.reference import read_references
    from eat_lightning.drift.stream import open_stream
    from eat_lightning.drift.watch import Watch, named

    monitors = {
        source: Monitor(reference.seen, **plan.monitor.model_dump(), seed=plan.seed)
        for source, reference in read_references(backend, plan.certificate).items()
    }
    stream = open_stream(plan, run, backend.columns)
    log = DecisionLog(plan.log, plan.log_text) if plan.log else None
    watch, num_bad = Watch(backend, monitors, log), 0
    for lines in stream:
        sound = [line for line in lines if line.error is None]
        errors = [line.error for line in lines if line.error is not None]
        num_bad += len(errors)
        try:
            texts, about = [line.texts for line in sound], [line.about for line in sound]
            events = watch(texts, about) if sound else []
        except OSError as error:
            raise ConfigError(f"log={plan.log}: {error.strerror}") from None
        for event in events + errors:
            tell(event)
    for source, monitor in monitors.items():
        tell({"event": "end"} | named(source) | monitor.state())
    return num_bad


def tell(content: dict[str, Any]) -> None:
    print(json.dumps(content), flush=True)


main = entry("drift", drift)

if __name__ == "__main__":
    main()
