"""Read the rows of a file in order, one window at a time, for files of any size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice

import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq

from eat_lightning.deploy.score.inputs import Input
from eat_lightning.deploy.score.tables import ABOUT, WRONG, check_text, table_rows, text_names
from eat_lightning.errors import ConfigError, one_line
from eat_lightning.text_io import InputLine, decoded, parse, split_texts

CHUNK = 1024  # rows that are read at once
BLOCK = 4 << 20  # bytes of a csv file that are read at once, and of its longest row
JSON = "json"  # the column that a line of JSON is passed through in
HEADER = pc.ParseOptions(newlines_in_values=True, invalid_row_handler=lambda _: "skip")
Part = tuple[pa.Table, float]  # rows, and bytes of the file until there


class Unreadable(Exception):
    """Error: a file cannot be read to its end."""


@dataclass
class Window:
    """Rows of a file that are answered together.

    Args:
        shard: number of the output file.
        first: number of the first row.
        read: bytes of the file read so far.
        ends_shard: True if it is the last window of its shard.
    """

    source: Source
    shard: int
    first: int
    table: pa.Table
    read: float
    ends_shard: bool

    @property
    def rows(self) -> list[InputLine]:
        return table_rows(self.table, self.source.texts)

    @property
    def kept(self) -> pa.Table:
        """The copied columns."""
        return self.table.select(self.source.kept)


@dataclass(frozen=True)
class Source:
    """A file and its columns.

    Args:
        task: columns of the model's task.
        text: text columns that replace those of the task.
        keep: columns to copy to the output; None: all.
    """

    input: Input
    task: Sequence[str]
    text: Sequence[str] | None = None
    keep: Sequence[str] | None = None

    @cached_property
    def whole(self) -> pa.Schema:
        """All columns of the file. csv columns are text; JSON lines have a column for errors."""
        task = self.text or self.task
        match self.input.format:
            case "parquet":
                return pq.read_schema(self.input.path).remove_metadata()
            case "csv":
                with pc.open_csv(self.input.path, parse_options=HEADER) as file:
                    names = file.schema.names
            case "jsonl":
                names = dict.fromkeys([*task, *ABOUT, JSON, WRONG])
            case _:
                names = [*task, WRONG]
        return pa.schema([(name, pa.string()) for name in names])

    @cached_property
    def texts(self) -> list[str]:
        """The text columns. Raises ConfigError without any."""
        return text_names(self.whole.names, self.task, self.text)

    @cached_property
    def kept(self) -> list[str]:
        """Names of the copied columns."""
        every = {"text": self.texts, "jsonl": [JSON]}.get(self.input.format) or self.whole.names
        return every if self.keep is None else list(self.keep)

    @cached_property
    def schema(self) -> pa.Schema:
        """Schema of the columns to read."""
        more = [name for name in (*ABOUT, WRONG) if name in self.whole.names]
        names = dict.fromkeys([*self.kept, *self.texts, *more])
        return pa.schema([self.whole.field(name) for name in names])

    def check(self, answers: Sequence[str]) -> None:
        """Raise ConfigError where the file is unreadable, or a column is missing, duplicated, of
        another type, or named like an answer column.
        """
        try:
            self.input.path.open("rb").close()
            names = self.whole.names
        except (OSError, pa.ArrowException) as error:
            raise ConfigError(f"cannot be read ({one_line(error, 120)})") from None
        if len({*names}) < len(names):
            raise ConfigError("must name its columns, each once")
        check_text(self.whole, self.texts)
        if absent := [name for name in self.kept if name not in names]:
            has = ", ".join(name for name in names if name != WRONG)
            raise ConfigError(f"no column {', '.join(absent)} to keep (it has {has})")
        if both := [name for name in answers if name in self.kept]:
            raise ConfigError(
                f"has columns of its own named {', '.join(both)}: give prefix=, such as "
                "prefix=eat_, or those to keep without them, such as keep=[]"
            )

    def windows(self, size: int, shard_rows: int) -> Iterator[Window]:
        """Yield the rows in windows of `size`, none of which spans two shards.

        Raises:
            Unreadable: where the file is damaged or gone.
        """
        pending, first, read = self.schema.empty_table(), 0, 0.0
        try:
            for table, read in self.tables():
                pending = pa.concat_tables([pending, table])
                while len(pending) > (rows := min(size, shard_rows - first % shard_rows)):
                    shard, end = first // shard_rows, first + rows
                    ends_shard = end % shard_rows == 0
                    yield Window(self, shard, first, pending.slice(0, rows), read, ends_shard)
                    pending, first = pending.slice(rows), end
            yield Window(self, first // shard_rows, first, pending, read, True)
        except (OSError, pa.ArrowException) as error:
            raise Unreadable(f"{self.input.path}: cannot be read ({one_line(error)})") from None

    def tables(self) -> Iterator[Part]:
        """Yield all rows, some at a time."""
        match self.input.format:
            case "parquet":
                return self.parquet_tables()
            case "csv":
                return self.csv_tables()
        return self.line_tables()

    def parquet_tables(self) -> Iterator[Part]:
        # Without pre_buffer and with a small buffer a row group is decoded as it is read. A
        # `pyarrow.dataset` would read ahead of its reader, up to a gigabyte.
        with pq.ParquetFile(self.input.path, pre_buffer=False, buffer_size=1 << 20) as file:
            num_bytes, names, rows = self.input.path.stat().st_size, self.schema.names, 0
            for batch in file.iter_batches(CHUNK, columns=names, use_threads=False):
                rows += len(batch)
                table = pa.Table.from_batches([batch]).select(names).cast(self.schema)
                yield table, num_bytes * rows / file.metadata.num_rows

    def csv_tables(self) -> Iterator[Part]:
        text = pc.ConvertOptions(
            column_types=self.whole,
            include_columns=self.schema.names,
            strings_can_be_null=False,
            check_utf8=False,
        )
        blocks = pc.ReadOptions(use_threads=False, block_size=BLOCK)
        with (
            self.input.path.open("rb") as file,
            pc.open_csv(file, blocks, pc.ParseOptions(newlines_in_values=True), text) as reader,
        ):
            for batch in reader:
                yield pa.Table.from_batches([batch]), file.tell()

    def line_tables(self) -> Iterator[Part]:
        with self.input.path.open("rb") as file:
            while lines := list(islice(file, CHUNK)):
                rows = [self.row(line.rstrip(b"\r\n")) for line in lines]
                yield pa.Table.from_pylist(rows, self.schema), file.tell()

    def row(self, line: bytes) -> dict[str, str]:
        """Return a line's values by column; for an unreadable one the line itself, with
        the reason.
        """
        try:
            if self.input.format == "text":
                texts = split_texts(decoded(line), len(self.texts))
                return dict(zip(self.texts, texts, strict=True))
            if not line.lstrip(b"\xef\xbb\xbf \t").startswith(b"{"):
                raise ValueError("must be a JSON object")
            row = parse(line, self.texts)
            about = {name: row.about[name] for name in ABOUT if name in row.about}
            return about | {JSON: decoded(line)} | dict(zip(self.texts, row.texts, strict=True))
        except ValueError as error:
            return {self.texts[0]: line.decode("utf-8", "backslashreplace"), WRONG: str(error)}
