"""A run's model under a drift monitor: each batch is answered early or at full depth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eat_lightning.drift.decisions import TEXTS, DecisionLog
from eat_lightning.drift.monitor import Monitor
from eat_lightning.errors import ConfigError

if TYPE_CHECKING:
    from eat_lightning.drift.watching import Told, Watching


@dataclass
class Watched:
    """Monitors by source. One may change its mind within a batch; that holds from the next one
    on."""

    watching: Watching
    monitors: Mapping[str | None, Monitor]
    log: DecisionLog | None = None

    def __call__(
        self, texts: list[list[str]], about: Sequence[Mapping[str, str]] | None = None
    ) -> list[dict[str, Any]]:
        """Answers a batch; what the monitors made of it."""
        about = [{} for _ in texts] if about is None else about
        deep = frozenset(source for source, m in self.monitors.items() if m.full_depth)
        found: dict[int, tuple[Told, int]] = {}
        for told in self.watching.stream(texts, about, deep):
            found |= {place: (told, i) for i, place in enumerate(told.places)}
        events, lines = [], []
        for place, text in enumerate(texts):
            told, i = found[place]
            monitor = self.monitors.get(told.source)
            whose = {} if told.source is None else {"source": told.source}
            seen = told.seen[i] if told.seen else None
            if monitor is not None and seen is not None and (event := monitor.observe(seen)):
                events.append(event.as_dict() | whose)
            exits = {} if seen is None else {"exits": asdict(seen)}
            full = {"full_depth": told.source in deep}
            lines.append(told.answers[i] | whose | full | exits | {TEXTS: text})
        if self.log is not None:
            self.log.add(lines)
        return events


KNOWN = ("source", "mime")  # what a file may tell of its examples, in columns of these names
Batches = Iterator[tuple[list[list[str]], list[dict[str, str]]]]


def texts_of(path: Path, columns: Sequence[str], batch: int) -> Batches:
    """A parquet file's rows in order, `batch` at a time, and what is known of each; ConfigError
    where it has not these columns of text."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
        lacking = [name for name in columns if name not in file.schema_arrow.names]
        if lacking:
            known = ", ".join(file.schema_arrow.names)
            raise ConfigError(f"{path}: there is no column {lacking[0]}, only {known}")
        more = [n for n in KNOWN if n in file.schema_arrow.names and n not in columns]
        for rows in file.iter_batches(batch, columns=[*columns, *more]):
            given = [rows.column(name).to_pylist() for name in columns]
            known = {name: rows.column(name).to_pylist() for name in more}
            told = [
                {name: v[i] for name, v in known.items() if isinstance(v[i], str)}
                for i in range(rows.num_rows)
            ]
            if not all(isinstance(text, str) for column in given for text in column):
                raise ConfigError(f"{path}: {' and '.join(columns)} must hold text in every row")
            yield [list(texts) for texts in zip(*given, strict=True)], told
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"{path}: not a readable parquet file ({reason})") from None
