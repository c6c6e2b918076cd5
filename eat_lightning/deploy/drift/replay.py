"""A stream under a drift monitor: lines of standard input, or the texts of a parquet file."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from eat_lightning.bundle.bundle import is_adapted
from eat_lightning.bundle.model import Model
from eat_lightning.deploy.drift.plan import DriftSettings
from eat_lightning.errors import ConfigError, reading
from eat_lightning.monitor.decisions import TEXTS, DecisionLog
from eat_lightning.monitor.observation import observations
from eat_lightning.monitor.reference import read_reference
from eat_lightning.monitor.watch import DriftWatch
from eat_lightning.runs.run import Run
from eat_lightning.text_io import InputLine, batches, read_lines

STDIN = "-"
KNOWN = ("source", "mime")  # what a file may tell of its examples, in columns of these names


def replayed(plan: DriftSettings, model: Model) -> Iterator[dict[str, Any]]:
    """The events of a stream, an error for each line that could not be read, and at the end the
    state of the monitor. ConfigError where the log cannot be written."""
    reference = read_reference(model, plan.certificate)
    watch = DriftWatch(reference, plan.monitor.model_dump())
    stream = open_stream(plan, model)
    log = DecisionLog(plan.log, plan.log_text) if plan.log else None
    for lines in stream:
        try:
            sound = [line for line in lines if line.error is None]
            yield from events(model, watch, sound, log)
        except OSError as error:
            raise ConfigError(f"log={plan.log}: {error.strerror}") from None
        yield from (line.error for line in lines if line.error is not None)
    assert watch.monitor is not None
    yield {"event": "end"} | watch.monitor.state()


def events(
    model: Model, watch: DriftWatch, lines: Sequence[InputLine], log: DecisionLog | None
) -> Iterator[dict[str, Any]]:
    """Observe a batch in its order. A monitor may change its mind within it; that holds from the
    next batch on."""
    texts, about = [line.texts for line in lines], [line.about for line in lines]
    deep, answers, exits = watch.deep, {}, {}
    for trace in model.stream(texts, about, deep) if lines else ():
        answers |= model.printed(trace)
        exits |= dict(zip(trace.rows_B.tolist(), observations(trace), strict=True))
    decisions = []
    for place, answer in sorted(answers.items()):
        decision = answer | {"full_depth": deep, TEXTS: texts[place]}
        if place in exits:  # none of a text that is refused
            decision["exits"] = asdict(exits[place])
        decisions.append(decision)
    yield from map(asdict, watch.observe(exits[place] for place in sorted(exits)))
    if log is not None:
        log.add(decisions)


def open_stream(plan: DriftSettings, model: Model) -> Iterator[list[InputLine]]:
    """Batches of standard input, of a parquet file, or of <data set>/<split> in the run's data
    folder. ConfigError where there is no such file, or `columns` are not as many as the model's."""
    expected = model.columns
    name, names = str(plan.stream), plan.columns or expected
    if len(names) != len(expected):
        raise ConfigError(f"columns must name {len(expected)}, got {list(names)}")
    if name == STDIN:
        return standard_input(expected, plan.batch)
    places = [Path(name), data_folder(plan) / f"{name}.parquet"]
    found = [path for path in places if path.is_file()]
    if not found:
        raise ConfigError(f"stream={name}: there is neither {' nor '.join(map(str, places))}")
    return rows_of(found[0], names, plan.batch)


def data_folder(plan: DriftSettings) -> Path:
    """The folder of data sets: that of the setting, or else the run's."""
    its_own = None if is_adapted(plan.run) else Run.open(plan.run).config["data"].get("dir")
    return Path(plan.data.dir or its_own or ".").expanduser()


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
