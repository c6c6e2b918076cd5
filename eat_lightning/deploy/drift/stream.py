"""Streams that `drift` replays: lines of standard input, or the texts of a parquet file."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from eat_lightning.deploy.drift.plan import DriftSettings
from eat_lightning.errors import ConfigError, reading
from eat_lightning.text_io import InputLine, batches, read_lines

STDIN = "-"
KNOWN = ("source", "mime")  # what a file may tell of its examples, in columns of these names


def open_stream(
    plan: DriftSettings, run: Any, expected: Sequence[str]
) -> Iterator[list[InputLine]]:
    """Batches of standard input, of a parquet file, or of <data set>/<split> in the run's data
    folder. expected: the task's columns. ConfigError where there is no such file."""
    name, names = str(plan.stream), plan.columns or expected
    if len(names) != len(expected):
        raise ConfigError(
            f"columns must name {len(expected)} for {run.task.name}, got {list(names)}"
        )
    if name == STDIN:
        return standard_input(expected, plan.batch)
    folder = plan.data.dir or run.config["data"].get("dir") or "."
    places = [Path(name), Path(folder).expanduser() / f"{name}.parquet"]
    found = [path for path in places if path.is_file()]
    if not found:
        raise ConfigError(f"stream={name}: there is neither {' nor '.join(map(str, places))}")
    return rows_of(found[0], names, plan.batch)


def standard_input(columns: Sequence[str], batch: int) -> Iterator[list[InputLine]]:
    first = 1
    for raw in batches(sys.stdin.fileno(), batch):
        yield read_lines(raw, first, columns)
        first += len(raw)


def rows_of(path: Path, columns: Sequence[str], batch: int) -> Iterator[list[InputLine]]:
    """A parquet file's rows in order, `batch` at a time; ConfigError where it has not these columns
    of text."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with reading(path, pa.ArrowException):
        file = pq.ParquetFile(path)
        there = file.schema_arrow.names
        if lacking := [name for name in columns if name not in there]:
            raise ConfigError(f"{path}: there is no column {lacking[0]}, only {', '.join(there)}")
        more = [name for name in KNOWN if name in there and name not in columns]
        for part in file.iter_batches(batch, columns=[*columns, *more]):
            found = []
            for row in part.to_pylist():
                about = {n: row[n] for n in more if isinstance(row[n], str)}
                found.append(InputLine([row[name] for name in columns], about))
            if not all(isinstance(text, str) for line in found for text in line.texts):
                raise ConfigError(f"{path}: {' and '.join(columns)} must hold text in every row")
            yield found
