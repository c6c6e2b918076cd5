"""An export under watch: beside each answer what its exits did, or would have done."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from eat_lightning.drift.observation import Observation, of_values
from eat_lightning.drift.watching import About, Source, Told, watchable
from eat_lightning.infer.exported import Export, ExportAnswerer
from eat_lightning.infer.later import Way, would_leave
from eat_lightning.infer.onnx_runner import Trace
from eat_lightning.runs.certificate import ONNX


@dataclass
class ExportWatching:
    """A `Watching` of an export with its policies and certificates."""

    answerer: ExportAnswerer

    @property
    def home(self) -> Export:
        return self.answerer.export

    @property
    def columns(self) -> Sequence[str]:
        return self.answerer.columns

    @property
    def labels(self) -> Sequence[str]:
        return self.answerer.labels

    @property
    def policies(self) -> Sequence[Any]:
        return [policy for way in self.answerer.ways.values() for policy in way.policies]

    def holds(self) -> dict[Source, dict[str, Any]]:
        ways = self.answerer.ways
        return {source: held_by(self.home, ways[source]) for source in watchable(ways)}

    def normal(self, source: Source, split: Any, batch: int) -> list[Observation]:
        from eat_lightning.infer.record_export import everyone

        title = f"{self.home.name}: what is normal"
        trace = everyone(self.home, split, batch, title)
        return would_see(self.answerer.ways[source], trace, split.about)

    def stream(
        self, texts: Sequence[Sequence[str]], about: About, deep: frozenset[Source]
    ) -> Iterator[Told]:
        answerer, here = self.answerer, watchable(self.answerer.ways)
        for places, trace, source in answerer.traced(texts, about, deep):
            told = Told(places, self.home.runner.say(trace), source)
            if source in here and source in deep:
                way, known = answerer.ways[source], [about[place] for place in places]
                told.seen = would_see(way, trace, known)
            elif source in here:
                told.seen = of_values(trace.logits_BC, trace.depth_B, trace.tokens_LB)
            yield told


def would_see(way: Way, trace: Trace, about: About) -> list[Observation]:
    """Of examples that all ran every layer."""
    logits_BC, depth_B = would_leave(trace.exits, way.later(about))
    return of_values(logits_BC, depth_B, trace.tokens_LB)


def held_by(export: Export, way: Way) -> dict[str, Any]:
    """What decides the observations. Not onnxruntime's version, whose last bits move no rank."""
    rule = export.about["exit"]
    if way.taus is not None:
        rule = {"kind": "confidence", "tau": [*way.taus.values()], "layers": [*way.taus]}
    made = export.combination(rule, way.policies)
    return {key: value for key, value in made.items() if key not in ("device", ONNX)}
