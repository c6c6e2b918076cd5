"""A run whose answers also tell the drift monitor what it must know of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eat_lightning.errors import ConfigError

# Places in the batch, and their answers. An answer may hold, under "seen", an observation for the
# monitor, which is taken out before it is given.
Chunk = tuple[list[int], list[dict[str, Any]]]


@dataclass
class Watched:
    """sources: whose exits are those of the reference, the only ones that it says anything about
    (None: whatever has no exits of its own)."""

    reference: Any
    sources: frozenset[str | None]

    @classmethod
    def of(cls, run: Any, encoders: Mapping[str | None, Any], dtype: str) -> Watched:
        """ConfigError where the run's reference was made with other exits than all of these."""
        from eat_lightning.drift.reference import Reference, watched

        if any(encoder.policies for encoder in encoders.values() if encoder.exit.layers):
            raise ConfigError(
                "drift.monitor=true is for exits without policies: its reference knows of none"
            )
        reference = Reference.read(run)
        found, refused = set(), None
        for source, encoder in encoders.items():
            try:
                reference.check(watched(run, encoder, dtype))
                found.add(source)
            except ConfigError as error:
                refused = error
        if not found:
            assert refused is not None
            raise refused
        return cls(reference, frozenset(found))

    def stream(
        self,
        answerer: Any,
        texts: Sequence[Sequence[str]],
        about: Sequence[Mapping[str, str]],
        full_depth: bool,
    ) -> Iterator[Chunk]:
        """At full depth every head still guesses, so that the monitor sees what the exits would
        have done."""
        from eat_lightning.drift.observation import of_trace
        from eat_lightning.predict import described

        answerer.full_depth = False
        for source, places in answerer.by_source(about).items():
            encoder = answerer.encoders[source]
            batch = answerer.batch([texts[i] for i in places], [about[i] for i in places])
            parts = answerer.whole(encoder, batch) if full_depth else answerer.parts(encoder, batch)
            for rows_G, trace in parts:
                answers = described(trace, answerer.labels)
                if full_depth:
                    answers = [answer | {"exit_reason": "fallback"} for answer in answers]
                if source in self.sources:
                    seen = of_trace(encoder, trace, full_depth)
                    answers = [a | {"seen": s} for a, s in zip(answers, seen, strict=True)]
                yield [places[row] for row in rows_G.tolist()], answers
