"""A model under drift monitors: each batch is answered early or at full depth; and what `drift`
says of a run and of a stream."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from eat_lightning.deploy.drift.decisions import TEXTS, DecisionLog
from eat_lightning.deploy.drift.monitor import Monitor
from eat_lightning.deploy.drift.observation import observations
from eat_lightning.deploy.drift.plan import DriftSettings
from eat_lightning.deploy.drift.reference import make_references, read_references
from eat_lightning.deploy.drift.stream import open_stream
from eat_lightning.errors import ConfigError
from eat_lightning.infer.backend import Backend, Source
from eat_lightning.runs.run import Run
from eat_lightning.text_io import About, Texts, refusal


def named(source: Source) -> dict[str, str]:
    """The key `source` of a line, which those without exits of their own do not have."""
    return {} if source is None else {"source": source}


@dataclass
class WatchedBackend:
    """Monitors by source. One may change its mind within a batch; that holds from the next one
    on."""

    backend: Backend
    monitors: Mapping[Source, Monitor]
    log: DecisionLog | None = None

    def __call__(self, texts: Texts, about: About | None = None) -> list[dict[str, Any]]:
        """Answer a batch; the events of its monitors."""
        deep = frozenset(source for source, m in self.monitors.items() if m.full_depth)
        found = {}
        for left in self.backend.stream(texts, about, deep):
            seen = observations(left.exits)
            for place, answer, each in zip(left.places, left.answers, seen, strict=True):
                found[place] = left.source, answer, each
        events, lines = [], []
        for place, text in enumerate(texts):
            source, answer, seen = found[place]
            line = answer | {"full_depth": source in deep, TEXTS: text} | named(source)
            if source in self.monitors:
                line["exits"] = asdict(seen)
                if not refusal(answer) and (event := self.monitors[source].observe(seen)):
                    events.append(asdict(event) | named(source))
            lines.append(line)
        if self.log is not None:
            self.log.add(lines)
        return events


def made(plan: DriftSettings, run: Run, backend: Backend) -> Iterator[dict[str, Any]]:
    """Make what is normal, and write it beside the model; an event for each reference."""
    split = run.data(dir=plan.data.dir).split("certificate")
    for reference in make_references(backend, split, plan.batch):
        about = {"examples": len(reference.seen), "saved": str(reference.write(backend))}
        yield {"event": "reference"} | named(reference.source) | about


def replayed(plan: DriftSettings, run: Run, backend: Backend) -> Iterator[dict[str, Any]]:
    """The events of a stream, an error for each line that could not be read, and at the end the
    state of each monitor. ConfigError where the log cannot be written."""
    monitors = {
        source: Monitor(reference.seen, **plan.monitor.model_dump(), seed=plan.seed)
        for source, reference in read_references(backend, plan.certificate).items()
    }
    stream = open_stream(plan, run, backend.columns)
    log = DecisionLog(plan.log, plan.log_text) if plan.log else None
    watch = WatchedBackend(backend, monitors, log)
    for lines in stream:
        sound = [line for line in lines if line.error is None]
        try:
            texts, about = [line.texts for line in sound], [line.about for line in sound]
            yield from watch(texts, about) if sound else []
        except OSError as error:
            raise ConfigError(f"log={plan.log}: {error.strerror}") from None
        yield from (line.error for line in lines if line.error is not None)
    for source, monitor in monitors.items():
        yield {"event": "end"} | named(source) | monitor.state()
