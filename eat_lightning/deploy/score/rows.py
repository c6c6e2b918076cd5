"""A shard's rows, a window at a time: texts for the model, and the columns that are passed through.

Memory is that of a window, whatever the size of the file.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from eat_lightning.deploy.score.columns import JsonColumns
from eat_lightning.deploy.score.inputs import Input, Shard
from eat_lightning.errors import ConfigError, one_line
from eat_lightning.text_io import decoded, split_texts, texts_of, without_half_pairs

ABOUT = ("source", "mime")  # what policies and certificates by source ask of an example
SHOWN = 2000  # characters of a rejected row that are kept


class Unreadable(Exception):
    """A shard that cannot be read to its end."""


@dataclass(frozen=True)
class Reading:
    """Tell how rows are read. columns: the task's. text: those that hold the texts instead. keep:
    those that are passed through (None: all). json: what is passed through of JSON."""

    columns: Sequence[str]
    text: Sequence[str] | None
    keep: Sequence[str] | None
    window: int
    max_bytes: int
    json: JsonColumns


@dataclass(frozen=True)
class Reject:
    """A row without an answer. place: its row in a parquet or csv file, or the byte where its line
    begins."""

    place: int
    reason: str
    content: Any


@dataclass
class Window:
    """kept: the columns that are passed through, a row for each of the texts. places: as in
    `Reject`."""

    texts: list[list[str]]
    about: list[dict[str, str]]
    places: list[int]
    kept: pa.Table
    rejects: list[Reject]
    read: int = 0  # bytes or rows of the shard so far, of `of`
    of: int = 1


def windows(shard: Shard, reading: Reading) -> Iterator[Window]:
    """Unreadable where the file is damaged, gone, or lacks a column."""
    made = table_windows if shard.input.format in ("parquet", "csv") else line_windows
    try:
        yield from made(shard, reading)
    except (OSError, pa.ArrowException, ConfigError) as error:
        raise Unreadable(f"{shard.input.path}: cannot be read ({one_line(error, 160)})") from None


def names_of_texts(there: Sequence[str], reading: Reading, path: Any) -> list[str]:
    """The columns that hold the texts. ConfigError where there are none of such names."""
    general = ["text", "text_pair"][: len(reading.columns)]
    choices = [reading.text] if reading.text else [reading.columns, general]
    for names in choices:
        if all(name in there for name in names):
            return list(names)
    wanted = ", or ".join(" and ".join(names) for names in choices)
    has = ", ".join(map(str, there[:10]))
    raise ConfigError(f"input={path}: no column {wanted} (it has {has}): give text=")


def kept_schema(input: Input, reading: Reading) -> pa.Schema:
    """The columns that are passed through. ConfigError where the file lacks one of them."""
    if input.format == "jsonl":
        return reading.json.schema
    if input.format == "text":
        names = reading.text or reading.columns
        kept = [name for name in names if reading.keep is None or name in reading.keep]
        return pa.schema([(name, pa.string()) for name in kept])
    whole = table_schema(input)
    for name in names_of_texts(whole.names, reading, input.path):
        type = whole.field(name).type
        values = type.value_type if pa.types.is_dictionary(type) else type
        if values not in (pa.string(), pa.large_string(), pa.string_view()):
            raise ConfigError(f"input={input.path}: {name} must hold text, got {type}")
    if reading.keep is None:
        return whole
    if absent := [name for name in reading.keep if name not in whole.names]:
        raise ConfigError(f"input={input.path}: no column {', '.join(absent)} to keep")
    return pa.schema([whole.field(name) for name in reading.keep])


def table_schema(input: Input) -> pa.Schema:
    if input.format == "csv":
        return pa.schema([(name, pa.string()) for name in csv_header(input.path)])
    return pq.read_schema(input.path).remove_metadata()


def csv_header(path: Path) -> list[str]:
    """The names of a file's columns. ConfigError where there are none, or two of one name."""
    try:
        # What is not UTF-8 further down is a matter of its row.
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            names = next(csv.reader(file), [])
    except csv.Error as error:
        raise ConfigError(f"input={path}: its header cannot be read ({error})") from None
    if not names or len({*names}) < len(names):
        raise ConfigError(f"input={path}: its first line must name its columns, each once")
    return names


def table_windows(shard: Shard, reading: Reading) -> Iterator[Window]:
    """Windows of a parquet or csv file."""
    schema, names = kept_schema(shard.input, reading), table_schema(shard.input).names
    texts = names_of_texts(names, reading, shard.input.path)
    about = [name for name in ABOUT if name in names]
    wanted = list(dict.fromkeys([*schema.names, *texts, *about]))
    batches = parquet_batches if shard.input.format == "parquet" else csv_batches
    row = shard.first_row
    for batch, read, of in batches(shard, reading, names, wanted):
        window = window_of(batch, texts, about, schema, row)
        window.read, window.of = read, of
        row += len(batch)
        yield window


Batches = Iterator[tuple[pa.RecordBatch, int, int]]  # and how much of the shard has been read


def parquet_batches(shard: Shard, reading: Reading, names: Any, wanted: list[str]) -> Batches:
    # Without pre_buffer and with a small buffer a row group is decoded as it is read, not at once.
    with pq.ParquetFile(shard.input.path, pre_buffer=False, buffer_size=1 << 20) as file:
        groups = [*range(shard.start, shard.end)]
        num_rows = sum(file.metadata.row_group(i).num_rows for i in groups)
        read = 0
        for batch in file.iter_batches(reading.window, groups, wanted, use_threads=False):
            read += len(batch)
            yield batch, read, num_rows


def csv_batches(shard: Shard, reading: Reading, names: Sequence[str], wanted: list[str]) -> Batches:
    """All columns as text that may not be UTF-8. ArrowInvalid where a row has too many or too few,
    or is longer than `max_bytes` and its block."""
    block_size = max(1 << 20, 2 * reading.max_bytes)
    types = dict.fromkeys(names, pa.string())
    with shard.input.path.open("rb") as file:
        blocks = pyarrow.csv.open_csv(
            file,
            pyarrow.csv.ReadOptions(use_threads=False, block_size=block_size),
            pyarrow.csv.ParseOptions(newlines_in_values=True),
            pyarrow.csv.ConvertOptions(
                check_utf8=False, column_types=types, include_columns=wanted
            ),
        )
        for block in blocks:
            for start in range(0, len(block), reading.window):
                read = min(file.tell(), shard.weight)
                yield block.slice(start, reading.window), read, shard.weight


def window_of(
    batch: pa.RecordBatch, texts: Sequence[str], about: Sequence[str], schema: pa.Schema, first: int
) -> Window:
    """Rows of a parquet or csv file. first: the number of the first one."""
    columns = [values_of(batch.column(name)) for name in texts]
    known = {name: values_of(batch.column(name)) for name in about}
    sound, rejects = [], []
    for i, given in enumerate(zip(*columns, strict=True)):
        lacking = [name for name, text in zip(texts, given, strict=True) if text is None]
        if lacking:
            row = {
                name: str(value_of(batch.column(name)[i]))[:SHOWN] for name in batch.schema.names
            }
            reason = f"{lacking[0]} has no text, or none that is UTF-8"
            rejects.append(Reject(first + i, reason, row))
        else:
            sound.append(i)
    return Window(
        [[column[i] for column in columns] for i in sound],
        [{k: v[i] for k, v in known.items() if isinstance(v[i], str)} for i in sound],
        [first + i for i in sound],
        pa.Table.from_batches([batch.select(schema.names)])
        .take(pa.array(sound, pa.int64()))
        .cast(schema),
        rejects,
    )


def values_of(column: pa.Array) -> list[Any]:
    """Python's values; None where a text is not UTF-8, which parquet does not check."""
    try:
        return column.to_pylist()
    except UnicodeDecodeError:
        return [value_of(value) for value in column]


def value_of(value: pa.Scalar) -> Any:
    try:
        return value.as_py()
    except UnicodeDecodeError:
        return None


def lines(file: BinaryIO, start: int, end: int, most: int) -> Iterator[tuple[int, bytes, bool]]:
    """Each line that begins in a range of bytes: where, what, and whether it was cut at `most`."""
    place = start
    if start:  # a line that began before is another shard's
        file.seek(start - 1)
        place = start - 1 + passed(file, file.readline(most), most)
    while place < end and (line := file.readline(most + 1)):
        whole = len(line) <= most or line.endswith(b"\n")
        yield place, line.removesuffix(b"\n").removesuffix(b"\r"), not whole
        place += passed(file, line, most)


def passed(file: BinaryIO, line: bytes, most: int) -> int:
    """Read a line to its end, of which this much was read; returns its bytes."""
    count = len(line)
    while line and not line.endswith(b"\n"):
        line = file.readline(most)
        count += len(line)
    return count


def line_windows(shard: Shard, reading: Reading) -> Iterator[Window]:
    """Windows of a file of texts or of JSON, a line each."""
    as_json, schema = shard.input.format == "jsonl", kept_schema(shard.input, reading)
    with shard.input.path.open("rb") as file:
        found = lines(file, shard.start, shard.end, reading.max_bytes)
        while some := list(islice(found, reading.window)):
            read = some[-1][0] - shard.start  # where the last of them begins
            window = Window([], [], [], schema.empty_table(), [], read, shard.weight)
            contents = []
            for place, line, was_cut in some:
                try:
                    if was_cut:
                        raise ValueError(f"the line is longer than max_bytes={reading.max_bytes}")
                    text = decoded(line)
                    content = parsed(text) if as_json else named(text, reading)
                    window.texts.append(texts_in(content, reading))
                except ValueError as error:
                    shown = line[:SHOWN].decode("utf-8", "backslashreplace")
                    window.rejects.append(Reject(place, str(error), shown))
                    continue
                known = ABOUT if as_json else ()
                about = {k: content[k] for k in known if isinstance(content.get(k), str)}
                window.about.append(about)
                window.places.append(place)
                contents.append(content)
            window.kept = (
                reading.json.table(contents) if as_json else pa.Table.from_pylist(contents, schema)
            )
            yield window


def named(line: str, reading: Reading) -> dict[str, str]:
    """A line is a text or, for a task on pairs, two with a tab between them."""
    names = reading.text or reading.columns
    return dict(zip(names, split_texts(line, len(names)), strict=True))


def parsed(line: str) -> dict[str, Any]:
    """ValueError says what is wrong with a line of JSON."""
    if not line.strip():
        raise ValueError("an empty line")
    try:
        content = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON: {error}") from None
    if not isinstance(content, dict):
        raise ValueError(f"must be a JSON object, got {line:.40}")
    return content


def texts_in(content: dict[str, Any], reading: Reading) -> list[str]:
    """ValueError where a text is lacking."""
    if not reading.text:
        return texts_of(content, reading.columns)
    for name in reading.text:
        if not isinstance(content.get(name), str):
            raise ValueError(f"{name} must be a text, got {content.get(name)!r:.40}")
    return [without_half_pairs(content[name]) for name in reading.text]
