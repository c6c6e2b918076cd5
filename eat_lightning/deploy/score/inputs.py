"""The files that are scored, and their rows in order, a window at a time."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from glob import glob
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from eat_lightning.deploy.score.tables import ABOUT, check_text, table_rows, text_names
from eat_lightning.errors import ConfigError, Faults, one_line
from eat_lightning.text_io import InputLine, decoded, parse, split_texts, without_half_pairs

FORMATS = {".parquet": "parquet", ".csv": "csv", ".txt": "text", ".text": "text"}
FORMATS |= {".jsonl": "jsonl", ".ndjson": "jsonl"}
KNOWN = ", ".join(dict.fromkeys(FORMATS.values()))
CHUNK = 1024  # rows that are read at once
BLOCK = 16 << 20  # bytes of a csv file that are read at once, and of its longest row
LINE = "line"  # the column of a file of lines while it is read
JSON = "json"  # the column that a line of JSON is passed through in


class Unreadable(Exception):
    """A file that cannot be read to its end."""


@dataclass(frozen=True)
class Input:
    """A file. name: its path within what was given as input, under which its shards are written."""

    path: Path
    name: str
    format: str

    @property
    def fingerprint(self) -> list[int]:
        """Size and time of change, by which a file counts as the same."""
        stat = self.path.stat()
        return [stat.st_size, stat.st_mtime_ns]


def find_inputs(given: Iterable[str], format: str | None) -> list[Input]:
    """The files of paths, folders and patterns. Those in folders that are hidden, or of no known
    format, are left out. ConfigError with every fault."""
    inputs, faults = dict[str, Input](), Faults()
    for path in given:
        here = [path] if Path(path).exists() else sorted(glob(path, recursive=True))
        if not here:
            faults.append(f"input={path}: there is no such file or folder")
        for file, name in (each for found in here for each in files_of(Path(found))):
            kind = format or FORMATS.get(file.suffix.lower())
            if kind is None and not Path(path).is_dir():
                faults.append(f"input={file}: of no known format ({KNOWN}): give format=")
            elif name in inputs and inputs[name].path != file:
                faults.append(f"input: {inputs[name].path} and {file} have one name, {name}")
            elif kind is not None:
                inputs[name] = Input(file, name, kind)
    if not inputs and not faults:
        faults.append(f"input={', '.join(given)}: no file of a known format ({KNOWN})")
    faults.check()
    return [inputs[name] for name in sorted(inputs)]


def files_of(path: Path) -> Iterator[tuple[Path, str]]:
    """A file, or all of a folder that are not hidden, each with its name in the output."""
    if path.is_file():
        yield path, path.name
        return
    for file in sorted(each for each in path.rglob("*") if each.is_file()):
        name = file.relative_to(path)
        if not any(part[0] in "._" for part in name.parts):
            yield file, name.as_posix()


@dataclass(frozen=True)
class Columns:
    """Columns that are asked for.

    Args:
        task: those of the model's task.
        text: those that hold the texts instead.
        keep: those that are passed through; None: all.
    """

    task: Sequence[str]
    text: Sequence[str] | None
    keep: Sequence[str] | None


@dataclass
class Window:
    """Rows of a file that are answered together.

    Args:
        shard: number of the file of the output that takes them.
        first: number of the first row.
        table: the rows as they are read.
        read: bytes of the file so far.
        ends_shard: no more rows of the shard follow.
    """

    source: Source
    shard: int
    first: int
    table: pa.Table
    read: float
    ends_shard: bool

    @cached_property
    def rows(self) -> list[InputLine]:
        return self.source.rows(self.table)

    @property
    def kept(self) -> pa.Table:
        """The columns that are passed through."""
        return self.source.passed(self.table, self.rows)


@dataclass(frozen=True)
class Source:
    """A file and its columns."""

    input: Input
    columns: Columns

    @property
    def in_lines(self) -> bool:
        return self.input.format in ("text", "jsonl")

    @cached_property
    def schema(self) -> pa.Schema:
        """The columns of the file, as they are read; in a csv file all are text."""
        match self.input.format:
            case "parquet":
                return pq.read_schema(self.input.path).remove_metadata()
            case "csv":
                parse = pc.ParseOptions(newlines_in_values=True, invalid_row_handler=lambda _: "skip")
                with pc.open_csv(self.input.path, parse_options=parse) as file:
                    return pa.schema([(name, pa.string()) for name in file.schema.names])
        return pa.schema([(LINE, pa.large_binary())])

    @cached_property
    def texts(self) -> list[str]:
        """The columns with the texts. ConfigError where there are none."""
        task, text = self.columns.task, self.columns.text
        return list(text or task) if self.in_lines else text_names(self.schema.names, task, text)

    @cached_property
    def kept(self) -> list[str]:
        """The columns that are passed through."""
        if self.columns.keep is not None:
            return list(self.columns.keep)
        every = {"text": self.texts, "jsonl": [JSON]}
        return every.get(self.input.format) or self.schema.names

    @cached_property
    def needed(self) -> pa.Schema:
        """The columns that are read."""
        if self.in_lines:
            return self.schema
        about = [name for name in ABOUT if name in self.schema.names]
        names = dict.fromkeys([*self.kept, *self.texts, *about])
        return pa.schema([self.schema.field(name) for name in names])

    def check(self, answers: Sequence[str]) -> None:
        """ConfigError where the file lacks a column, has one twice, of another type, or named as
        one of the answers'."""
        self.input.path.open("rb").close()
        if both := [name for name in answers if name in self.kept]:
            raise ConfigError(
                f"has columns of its own named {', '.join(both)}: give prefix=, such as "
                "prefix=eat_, or those to keep without them, such as keep=[]"
            )
        names = self.texts if self.input.format == "text" else self.schema.names
        if len({*names}) < len(names):
            raise ConfigError("must name its columns, each once")
        if not self.in_lines:
            check_text(self.schema, self.texts)
        absent = [name for name in self.kept if name not in names]
        if absent and self.input.format != "jsonl":
            raise ConfigError(f"no column {', '.join(absent)} to keep (it has {', '.join(names)})")

    def windows(self, size: int, shard_rows: int) -> Iterator[Window]:
        """Yield the rows in windows of `size`, of which none belongs to two shards. Unreadable
        where the file is damaged or gone."""
        pending, first, read = self.needed.empty_table(), 0, 0.0
        try:
            for table, read in self.lines() if self.in_lines else self.batches():
                pending = pa.concat_tables([pending, table])
                while len(pending) > (rows := min(size, shard_rows - first % shard_rows)):
                    shard, end = first // shard_rows, first + rows
                    ends = end % shard_rows == 0
                    yield Window(self, shard, first, pending.slice(0, rows), read, ends)
                    pending, first = pending.slice(rows), end
            yield Window(self, first // shard_rows, first, pending, read, True)
        except (OSError, pa.ArrowException) as error:
            why = one_line(error, 160)
            raise Unreadable(f"{self.input.path}: cannot be read ({why})") from None

    def lines(self) -> Iterator[tuple[pa.Table, float]]:
        with self.input.path.open("rb") as file:
            while some := list(islice(file, CHUNK)):
                yield pa.table({LINE: some}, self.schema), file.tell()

    def batches(self) -> Iterator[tuple[pa.Table, float]]:
        """Yield all rows, some at a time, and about how many bytes of the file have been read."""
        data = ds.dataset(self.input.path, self.schema, self.reader())
        num_bytes, read = self.input.path.stat().st_size, 0.0
        per_row = 0.0 if self.input.format == "csv" else num_bytes / max(1, data.count_rows())
        # One row group, or block of a csv file, is read ahead; threads would read on without bound.
        ahead = {"batch_readahead": 1, "fragment_readahead": 1, "use_threads": False}
        for batch in data.to_batches(columns=self.needed.names, batch_size=CHUNK, **ahead):
            read = min(num_bytes, read + (per_row * len(batch) or batch.nbytes))
            yield pa.Table.from_batches([batch]), read

    def reader(self) -> Any:
        if self.input.format == "parquet":
            return "parquet"
        return ds.CsvFileFormat(
            pc.ParseOptions(newlines_in_values=True),
            convert_options=pc.ConvertOptions(
                column_types=self.schema, strings_can_be_null=False, check_utf8=False
            ),
            read_options=pc.ReadOptions(block_size=BLOCK),
        )

    def rows(self, table: pa.Table) -> list[InputLine]:
        """The texts of each row, or why it has none."""
        if self.in_lines:
            return [self.row(line) for line in table[LINE].to_pylist()]
        return table_rows(table, self.texts)

    def row(self, line: bytes) -> InputLine:
        line = line.removesuffix(b"\n").removesuffix(b"\r")
        try:
            if self.input.format == "text":
                return InputLine(split_texts(decoded(line), len(self.texts)))
            if not line.lstrip(b"\xef\xbb\xbf \t").startswith(b"{"):
                raise ValueError("must be a JSON object")
            return parse(line, self.texts)
        except ValueError as error:
            return InputLine(error={"error": str(error)})

    def passed(self, table: pa.Table, rows: Sequence[InputLine]) -> pa.Table:
        """The columns that are passed through; null in the rows of lines that cannot be read."""
        if not self.in_lines:
            return table.select(self.kept)
        lines = zip(table[LINE].to_pylist(), rows, strict=True)
        content = [{} if row.error else self.content(line, row) for line, row in lines]
        return pa.Table.from_pylist(content, pa.schema([(n, pa.string()) for n in self.kept]))

    def content(self, line: bytes, row: InputLine) -> dict[str, str | None]:
        """A line's values by column. Values of JSON that are not strings stay JSON."""
        if self.input.format == "text":
            return dict(zip(self.texts, row.texts, strict=True))
        text = decoded(line).strip()
        content = json.loads(text) if self.columns.keep else {}
        return {JSON: text} | {name: as_text(content.get(name)) for name in self.columns.keep or ()}


def as_text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value and without_half_pairs(value)
    return json.dumps(value)


def check_columns(sources: Sequence[Source], answers: Sequence[str]) -> None:
    """ConfigError with a line for every file that cannot be read, lacks the texts, or has a column
    named as one of the answers'."""
    faults = Faults()
    for source in sources:
        with faults.gathered(f"input={source.input.path}: "):
            try:
                source.check(answers)
            except (OSError, pa.ArrowException) as error:
                raise ConfigError(f"cannot be read ({one_line(error, 120)})") from None
    faults.check()
