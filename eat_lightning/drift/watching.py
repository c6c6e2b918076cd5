"""A run under watch: beside each answer what its exits did, or would have done.

Each source that has exits of its own is watched on its own, against its own part of the calibration
part: one source's mails are not another's normal. Alarms of all of them together keep the rate,
since each keeps it among its own examples.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from eat_lightning.data.source import ORIGIN
from eat_lightning.drift.observation import Observation, of_outcome, of_trace
from eat_lightning.drift.reference import LEAST, Reference, watched
from eat_lightning.errors import ConfigError
from eat_lightning.model.contracts import spec
from eat_lightning.runs.certificate import Home

Source = str | None  # None: whoever has no exits of its own
About = Sequence[Mapping[str, str]]


@dataclass
class Told:
    """Places in a batch, their answers, and what a monitor of `source` must know of them; without
    observations where nobody watches."""

    places: list[int]
    answers: list[dict[str, Any]]
    source: Source
    seen: list[Observation] = field(default_factory=list)


class Watching(Protocol):
    """home: the folder that keeps the references."""

    @property
    def home(self) -> Home: ...

    @property
    def columns(self) -> Sequence[str]: ...

    @property
    def labels(self) -> Sequence[str]: ...

    @property
    def policies(self) -> Sequence[Any]: ...

    def holds(self) -> dict[Source, dict[str, Any]]:
        """By source that is watched: what its observations are made with."""
        ...

    def normal(self, source: Source, split: Any, batch: int) -> list[Observation]:
        """Of the examples of a split, all of that source."""
        ...

    def stream(
        self, texts: Sequence[Sequence[str]], about: About, deep: frozenset[Source]
    ) -> Iterator[Told]:
        """As examples leave. deep: of these sources nobody leaves early, and observations are of
        what the exits would have done."""
        ...


@dataclass
class RunWatching:
    """A run in torch; answerer: a `predict.Answerer`."""

    home: Any
    answerer: Any
    dtype: str

    @property
    def columns(self) -> Sequence[str]:
        return self.answerer.columns

    @property
    def labels(self) -> Sequence[str]:
        return self.answerer.labels

    @property
    def policies(self) -> Sequence[Any]:
        return [p for encoder in self.answerer.encoders.values() for p in encoder.policies]

    def holds(self) -> dict[Source, dict[str, Any]]:
        encoders = self.answerer.encoders
        return {s: watched(self.home, encoders[s], self.dtype) for s in watchable(encoders)}

    def normal(self, source: Source, split: Any, batch: int) -> list[Observation]:
        from eat_lightning.infer.record import record

        title = f"{self.home.name}: what is normal"
        return of_outcome(record(self.answerer.encoders[source], split, batch, title).under())

    def stream(
        self, texts: Sequence[Sequence[str]], about: About, deep: frozenset[Source]
    ) -> Iterator[Told]:
        """At full depth every head still guesses."""
        from eat_lightning.predict.__main__ import described

        answerer, here = self.answerer, watchable(self.answerer.encoders)
        answerer.full_depth = False
        for source, places in answerer.by_source(about).items():
            encoder, full = answerer.encoders[source], source in deep
            batch = answerer.batch([texts[i] for i in places], [about[i] for i in places])
            parts = answerer.whole(encoder, batch) if full else answerer.parts(encoder, batch)
            for rows_G, trace in parts:
                answers = described(trace, answerer.labels)
                if full:
                    answers = [answer | {"exit_reason": "fallback"} for answer in answers]
                seen = of_trace(encoder, trace, batch if full else None) if source in here else []
                yield Told([places[row] for row in rows_G.tolist()], answers, source, seen)


def watchable(ways: Mapping[Source, Any]) -> list[Source]:
    """In their order. Where sources have exits of their own, whoever else comes runs every layer:
    nothing of that was calibrated."""
    return [source for source in ways if source is not None] or [None]


@dataclass(frozen=True)
class Rows:
    """Some examples of a split, as a split."""

    split: Any
    rows: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def labels(self) -> np.ndarray:
        return self.split.labels[self.rows]

    @property
    def lengths(self) -> np.ndarray:
        return self.split.lengths[self.rows]

    @property
    def about(self) -> list[dict[str, str]]:
        """What is known of each example besides its text."""
        origins = self.split.origins
        return [{} if origins is None else {ORIGIN: origins[row]} for row in self.rows]

    def text(self, i: int) -> tuple[str, ...]:
        return self.split.text(self.rows[i])

    def batch(self, indices: np.ndarray) -> Any:
        return self.split.batch(self.rows[indices])


def references_of(watching: Watching, split: Any, batch: int) -> list[Reference]:
    """What is normal, from the part of the calibration cut that nothing else was fitted on; a
    source with too few examples has none. ConfigError where that part cannot tell."""
    policies, origins = watching.policies, split.origins
    for policy in policies:
        asks = getattr(policy, "asks", frozenset)()
        if unknown := sorted(asks - (set() if origins is None else {ORIGIN})):
            kind = spec("policy", policy)["kind"]
            said = f"policy={kind} asks for {unknown[0]}, which the calibration part does not tell"
            raise ConfigError(f"{said}: what is normal under it cannot be known")
    made = []
    for source, holds in watching.holds().items():
        rows = np.arange(len(split))
        if source is not None:
            if origins is None:
                raise ConfigError("the calibration part's data has no column source any more")
            rows = np.flatnonzero(np.array(origins) == source)
        if source is None or len(rows) >= LEAST:
            seen = watching.normal(source, Rows(split, rows), batch)
            made.append(Reference(seen, holds, source))
    if not made:
        raise ConfigError(f"drift needs {LEAST} calibration examples of a source, and none has")
    return made


def references_for(watching: Watching) -> dict[Source, Reference]:
    """Those kept with it, by source. ConfigError where one is of other exits, or there is none."""
    found = {}
    for source, holds in watching.holds().items():
        if Reference.path_in(watching.home.folder, source).is_file() or source is None:
            found[source] = Reference.read(watching.home, source)
            found[source].check(holds)
    if not found:
        raise ConfigError(Reference.missing(watching.home))
    return found
