"""A model under drift monitors: each batch is answered early or at full depth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from eat_lightning.answers import About, Texts
from eat_lightning.drift.decisions import TEXTS, DecisionLog
from eat_lightning.drift.monitor import Monitor
from eat_lightning.drift.observation import observations
from eat_lightning.infer.backend import Backend, Source


def named(source: Source) -> dict[str, str]:
    """The key `source` of a line, which those without exits of their own do not have."""
    return {} if source is None else {"source": source}


@dataclass
class Watch:
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
                if event := self.monitors[source].observe(seen):
                    events.append(asdict(event) | named(source))
            lines.append(line)
        if self.log is not None:
            self.log.add(lines)
        return events
