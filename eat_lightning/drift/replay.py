"""A run's model under a drift monitor: each batch is answered early or at full depth."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from eat_lightning.drift.decisions import TEXTS, DecisionLog
from eat_lightning.drift.monitor import Event, Monitor
from eat_lightning.drift.observation import of_trace
from eat_lightning.errors import ConfigError

if TYPE_CHECKING:
    from eat_lightning.predict import Answerer


@dataclass
class Watched:
    """A monitor may change its mind within a batch; that holds from the next one on."""

    answerer: Answerer
    monitor: Monitor
    log: DecisionLog | None = None

    def __call__(self, texts: list[list[str]]) -> list[Event]:
        """Answers a batch; what the monitor made of it."""
        from eat_lightning.predict import described

        full = self.monitor.full_depth
        trace = self.answerer.traced(texts, leave=not full)
        seen = of_trace(self.answerer.encoders[None], trace, full)
        events = [event for each in seen if (event := self.monitor.observe(each)) is not None]
        if self.log is not None:
            answers = described(trace, self.answerer.labels)
            self.log.add(
                answer | {"full_depth": full, "exits": asdict(each), TEXTS: text}
                for answer, each, text in zip(answers, seen, texts, strict=True)
            )
        return events


def texts_of(path: Path, columns: Sequence[str], batch: int) -> Iterator[list[list[str]]]:
    """A parquet file's rows in order, `batch` at a time; ConfigError where it has not these
    columns of text."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
        lacking = [name for name in columns if name not in file.schema_arrow.names]
        if lacking:
            known = ", ".join(file.schema_arrow.names)
            raise ConfigError(f"{path}: there is no column {lacking[0]}, only {known}")
        for rows in file.iter_batches(batch, columns=list(columns)):
            given = [rows.column(name).to_pylist() for name in columns]
            if not all(isinstance(text, str) for column in given for text in column):
                raise ConfigError(f"{path}: {' and '.join(columns)} must hold text in every row")
            yield [list(texts) for texts in zip(*given, strict=True)]
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"{path}: not a readable parquet file ({reason})") from None
