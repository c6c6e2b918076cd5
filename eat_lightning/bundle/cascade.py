"""Two classifiers in a row as one `Model`: the first answers where it is sure, else the second.

They are a small and a large model, or one model in two precisions. Either may be a cascade itself.

Shapes: B examples, L layers of both.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from eat_lightning.bundle.adapted import SMALL
from eat_lightning.bundle.model import Model
from eat_lightning.errors import ConfigError
from eat_lightning.long_texts import AnswerRequest, LongTexts, Reader
from eat_lightning.model.policy import Policy
from eat_lightning.model.reason import reason_names
from eat_lightning.model.trace import Trace
from eat_lightning.record.escalation import Escalation, recoded
from eat_lightning.record.point import Point
from eat_lightning.text_io import About, Texts

if TYPE_CHECKING:
    from eat_lightning.model.contracts import ExitRule
    from eat_lightning.record.record import Record


@dataclass
class CascadeModel(Model):
    """The layers of the large model follow those of the small one: depth counts both.

    An answer's tokens are those that the model behind it read.

    Args:
        least: margin of the small model's answer (`AnswerKind.margin`) with which it stands.
        is_again: the large model is the small one in a higher precision.
    """

    folder: Path
    small: Model
    large: Model
    least: float
    is_again: bool = True

    def __post_init__(self) -> None:
        large = self.large
        self.columns, self.labels, self.kind = large.columns, large.labels, large.kind
        self.max_length, self.reader, self.dtype = large.max_length, large.reader, large.dtype
        self.num_layers = self.small.num_layers + large.num_layers
        self.exits = [*self.small.exits, *(self.small.num_layers + layer for layer in large.exits)]
        layers = self.small.num_layers, large.num_layers
        self.escalation = Escalation(self.kind, self.least, *layers, self.is_again)
        self.names = reason_names(self.reasons)
        self.uses_torch = self.small.uses_torch or large.uses_torch

    def read_long(self, long: LongTexts) -> None:
        super().read_long(long)
        self.small.read_long(long)

    def stream(
        self,
        texts: Texts,
        about: About | None = None,
        deep: bool = False,
        reader: Reader | None = None,
    ) -> Iterator[Trace]:
        """Answers of the small model, then those of the large one, which answers all if deep."""
        about = [{} for _ in texts] if about is None else about
        reader, rest = reader or self.reader, [*range(len(texts))]
        manner = replace(self.small.reader, side=reader.side, long=reader.long)
        if not deep:
            rest = []
            for trace in self.small.stream(texts, about, reader=manner):
                goes_on_B = self.escalation.goes_on(trace)
                rest += [*trace.errors, *trace.rows_B[goes_on_B].tolist()]
                if not goes_on_B.all():
                    yield recoded(self.escalation.stands(trace), self.names)
        if not rest:
            return
        for trace in self.large.stream(*rows_at(rest, texts, about), deep=deep, reader=reader):
            errors = {rest[place]: why for place, why in trace.errors.items()}
            second = replace(trace, rows_B=np.array(rest)[trace.rows_B], errors=errors)
            found = recoded(self.escalation.behind(second), self.names)
            if deep and self.is_again and len(second):
                first = self.small.stream(
                    *rows_at(second.rows_B.tolist(), texts, about), reader=manner
                )
                found.would = self.would(Trace.together([*first]), second)
            yield found

    def would(self, first: Trace, second: Trace) -> Trace:
        """What both would have answered, where the second has answered all."""
        alone = replace(second.would or second, rows_B=None, sizes=())
        again = alone.take(np.flatnonzero(self.escalation.goes_on(first)))
        return recoded(self.escalation.joined(replace(first, sizes=()), again), self.names)

    def run(self, request: AnswerRequest) -> Iterator[Trace]:
        """Run the large model, whose tokens the windows have."""
        yield from self.large.run(request)

    def look(self, text: Sequence[str], about: Mapping[str, str]) -> Trace:
        self.read_one(text)
        [trace] = self.stream([text], [about])
        return trace

    @property
    def exit_rule(self) -> ExitRule:
        from eat_lightning.methods.exit.never import Never

        return Never()

    @property
    def reasons(self) -> list[str]:
        found = [*self.escalation.reasons, *self.small.reasons, *self.large.reasons]
        return [*dict.fromkeys(found)]

    @property
    def point(self) -> Point:
        first = replace(self.small.point, weights="" if self.is_again else SMALL)
        return replace(self.large.point, before=first, margin=self.least)

    def at(self, point: Point) -> Self:
        """ConfigError: each model has a point of its own."""
        raise ConfigError(f"{self.folder} is a cascade, which runs as it was certified")

    def record(self, split: Any, batch: int = 32, title: str = "") -> Record:
        """ConfigError: two models have no common layers."""
        raise ConfigError(f"{self.folder} is a cascade of two models, which keeps no records")

    def identity(self) -> dict[str, Any]:
        parts = {"small": self.small.identity(), "large": self.large.identity()}
        return {**parts, "least": self.least}

    @property
    def policies(self) -> Sequence[Policy]:
        return ()


def rows_at(rows: Sequence[int], texts: Texts, about: About) -> tuple[list[Any], list[Any]]:
    """Return some of the texts, and what is known about them."""
    return [texts[i] for i in rows], [about[i] for i in rows]
