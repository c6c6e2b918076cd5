"""Events of `drift`: of a run, whose reference is made, and of a stream under a monitor."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from eat_lightning.deploy.drift.decisions import TEXTS, DecisionLog
from eat_lightning.deploy.drift.monitor import Monitor
from eat_lightning.deploy.drift.observation import observations
from eat_lightning.deploy.drift.plan import DriftSettings
from eat_lightning.deploy.drift.reference import make_reference, read_reference
from eat_lightning.deploy.drift.stream import open_stream
from eat_lightning.errors import ConfigError
from eat_lightning.infer.backend import Backend
from eat_lightning.runs.run import Run
from eat_lightning.text_io import InputLine


def made(plan: DriftSettings, run: Run, backend: Backend) -> Iterator[dict[str, Any]]:
    """Make what is normal, and write it beside the model."""
    split = run.data(dir=plan.data.dir).split("certificate")
    reference = make_reference(backend, split, plan.batch)
    about = {"examples": len(reference.seen), "saved": str(reference.write(backend))}
    yield {"event": "reference"} | about


def replayed(plan: DriftSettings, run: Run, backend: Backend) -> Iterator[dict[str, Any]]:
    """The events of a stream, an error for each line that could not be read, and at the end the
    state of the monitor. ConfigError where the log cannot be written."""
    reference = read_reference(backend, plan.certificate)
    monitor = Monitor(reference.seen, **plan.monitor.model_dump())
    stream = open_stream(plan, run, backend.columns)
    log = DecisionLog(plan.log, plan.log_text) if plan.log else None
    for lines in stream:
        try:
            sound = [line for line in lines if line.error is None]
            yield from events(backend, monitor, sound, log)
        except OSError as error:
            raise ConfigError(f"log={plan.log}: {error.strerror}") from None
        yield from (line.error for line in lines if line.error is not None)
    yield {"event": "end"} | monitor.state()


def events(
    backend: Backend, monitor: Monitor, lines: Sequence[InputLine], log: DecisionLog | None
) -> Iterator[dict[str, Any]]:
    """Observe a batch in its order. A monitor may change its mind within it; that holds from the
    next batch on."""
    texts, about = [line.texts for line in lines], [line.about for line in lines]
    deep, answers, exits = monitor.full_depth, {}, {}
    for trace in backend.stream(texts, about, deep) if lines else ():
        answers |= backend.printed(trace)
        exits |= dict(zip(trace.rows_B.tolist(), observations(trace), strict=True))
    decisions = []
    for place, answer in sorted(answers.items()):
        decision = answer | {"full_depth": deep, TEXTS: texts[place]}
        if place in exits:  # none of a text that is refused
            decision["exits"] = asdict(exits[place])
            if event := monitor.observe(exits[place]):
                yield asdict(event)
        decisions.append(decision)
    if log is not None:
        log.add(decisions)
