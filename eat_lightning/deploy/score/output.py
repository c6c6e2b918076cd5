"""The folder of scores: a parquet file for each shard, put in its place whole.

`<name>-<number>.parquet` is there when its shard is done, and not before; what was rejected of it
lies in `_rejects/`, put there first. `_score.json` says what the folder holds, so that a second
start goes on, and one with other settings is refused. Readers of parquet folders pass over names
that begin with "_".
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TextIO

import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock, Timeout

from eat_lightning.answer_kind import AnswerKind
from eat_lightning.deploy.score.inputs import Shard
from eat_lightning.deploy.score.rows import Reject
from eat_lightning.errors import ConfigError, one_line, reading
from eat_lightning.files import replacing, write_json
from eat_lightning.runs.run import flat
from eat_lightning.untrusted import json_of

MANIFEST, REJECTS, LOCK = "_score.json", "_rejects", "_lock"
FORMAT = 1
WAIT_S = 10  # for the processes of a start that was killed
GROUP_ROWS, GROUP_BYTES = 1 << 16, 32 << 20  # of a row group


class OutputFails(Exception):
    """Nothing can be written any more, as on a full disk."""


@dataclass(frozen=True)
class Output:
    """answers: the columns that are added to those that are passed through, by their keys in
    `Trace.answers`. prefix: of their names."""

    folder: Path
    answers: Mapping[str, pa.DataType]
    prefix: str

    def path_of(self, shard: Shard) -> Path:
        return self.folder / f"{shard.name}.parquet"

    def schema(self, kept: pa.Schema, where: Any) -> pa.Schema:
        """A shard's columns. ConfigError where the file has one of an answer's names."""
        added = {f"{self.prefix}{key}": type for key, type in self.answers.items()}
        if both := [name for name in added if name in kept.names]:
            raise ConfigError(
                f"input={where} has columns of its own named {', '.join(both)}: give prefix=, such "
                "as prefix=eat_, or those to keep without them, such as keep=[]"
            )
        return pa.schema([*kept, *added.items()])

    def missing(self, shards: Sequence[Shard]) -> list[Shard]:
        return [shard for shard in shards if not self.path_of(shard).is_file()]

    def num_rows(self, shards: Sequence[Shard]) -> int:
        """Rows with an answer in those shards that are there, whenever they were scored."""
        paths = [self.path_of(shard) for shard in shards]
        return sum(pq.read_metadata(path).num_rows for path in paths if path.is_file())

    @contextmanager
    def writing(self, shard: Shard, schema: pa.Schema) -> Iterator[ShardWriter]:
        """Take a shard's rows; they are in their place when all went well. OutputFails where they
        cannot be written."""
        try:
            with ExitStack() as stack:
                beside = stack.enter_context(replacing(self.path_of(shard)))
                file = stack.enter_context(beside.open("wb"))
                writer = ShardWriter(self, shard, schema, file, stack)
                yield writer
                writer.end()
        except (OSError, pa.ArrowException) as error:
            raise OutputFails(f"{self.path_of(shard)}: {one_line(error, 160)}") from None


@dataclass
class ShardWriter:
    """Writer of one shard; `pending` holds rows that make no row group yet."""

    output: Output
    shard: Shard
    schema: pa.Schema
    file: Any
    stack: ExitStack
    pending: list[pa.Table] = field(default_factory=list)

    @cached_property
    def parquet(self) -> pq.ParquetWriter:
        return pq.ParquetWriter(self.file, self.schema, compression="zstd")

    @cached_property
    def rejects(self) -> TextIO:
        """Its file, which is in its place before the shard's is: it was entered later."""
        path = self.output.folder / REJECTS / f"{self.shard.name}.jsonl"
        return self.stack.enter_context(
            self.stack.enter_context(replacing(path)).open("w", encoding="utf-8")
        )

    def add(self, kept: pa.Table, answers: Sequence[Mapping[str, Any]]) -> None:
        added = [
            pa.array([answer[key] for answer in answers], type)
            for key, type in self.output.answers.items()
        ]
        self.pending.append(pa.table([*kept.columns, *added], self.schema))
        num_rows, size = sum(map(len, self.pending)), sum(table.nbytes for table in self.pending)
        if num_rows >= GROUP_ROWS or size >= GROUP_BYTES:
            self.write_pending()

    def reject(self, rejects: Sequence[Reject]) -> None:
        place = "row" if self.shard.input.format in ("parquet", "csv") else "byte"
        for reject in rejects:
            line = {"input": self.shard.input.name, place: reject.place, "reason": reject.reason}
            print(json.dumps(line | {"content": reject.content}), file=self.rejects)

    def write_pending(self) -> None:
        if self.pending:
            table = pa.concat_tables(self.pending)
            self.parquet.write_table(table, row_group_size=max(1, len(table)))
            self.pending = []

    def end(self) -> None:
        """All of it is on the disk before any of it is renamed."""
        self.write_pending()
        self.parquet.close()
        self.file.flush()
        os.fsync(self.file.fileno())


TYPES = {"str": pa.string(), "float": pa.float64()}
TYPES |= {f"list of {name}": pa.list_(kind) for name, kind in TYPES.items()}


def answer_types(kind: AnswerKind) -> dict[str, pa.DataType]:
    """List the columns of an answer, by their keys in `Trace.answers`."""
    others = {"depth": pa.int16(), "retention": pa.float64(), "exit_reason": pa.string()}
    answer = {name: TYPES[type] for name, type in kind.columns.items()}
    sizes = {"windows": pa.int32(), "tokens": pa.int32(), "truncated": pa.bool_()}
    return answer | others | sizes


@dataclass(frozen=True)
class Manifest:
    """Manifest of an output folder: the model, the settings and the fingerprints of the scored
    inputs.

    Args:
        json: types of the columns passed through from JSON.
    """

    model: dict[str, Any]
    settings: dict[str, Any]
    inputs: dict[str, str]
    json: dict[str, str] | None = None

    @classmethod
    def read(cls, folder: Path) -> Manifest | None:
        """None where there is none. ConfigError where the folder is something else's."""
        path = folder / MANIFEST
        if not path.is_file():
            if folder.is_dir() and (there := [p.name for p in folder.iterdir() if p.name != LOCK]):
                names = ", ".join(sorted(there)[:3])
                raise ConfigError(f"output={folder} holds other files ({names}): name another one")
            if folder.exists() and not folder.is_dir():
                raise ConfigError(f"output={folder} is no folder")
            return None
        with reading(path):
            content = json_of(path, 64 << 20)
            if content.pop("format") != FORMAT:
                raise ValueError("of another version")
            return cls(**content)

    def check(self, wanted: Manifest, folder: Path) -> None:
        """ConfigError, naming what differs, where a folder with this manifest holds other scores
        than are wanted. Files may have been added to the input."""
        here, there = (
            flat({"model": each.model, "settings": each.settings}) for each in (self, wanted)
        )
        keys = sorted(k for k in here.keys() | there.keys() if here.get(k) != there.get(k))
        if keys:
            raise ConfigError(
                f"output={folder} holds scores of another run or other settings "
                f"({', '.join(keys[:6])}): name another folder, or delete it"
            )
        for name, fingerprint in self.inputs.items():
            if wanted.inputs.get(name, fingerprint) != fingerprint:
                raise ConfigError(f"input: {name} is not what it was when {folder} was begun")

    def write(self, folder: Path) -> None:
        try:
            write_json(folder / MANIFEST, {"format": FORMAT} | asdict(self))
        except OSError as error:
            raise ConfigError(f"output={folder}: cannot be written ({error.strerror})") from None


def only_scorer(folder: Path) -> FileLock:
    """Hold the folder until this process and those it started have ended. ConfigError where others
    write there, or nobody can."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / LOCK, thread_local=False)
        lock.acquire(timeout=WAIT_S)
    except Timeout:
        raise ConfigError(f"output={folder}: another `score` writes there") from None
    except OSError as error:
        raise ConfigError(f"output={folder}: cannot be written ({error.strerror})") from None
    return lock


def clear_unfinished(folder: Path) -> None:
    """Delete the files that a killed start left half-written."""
    for path in folder.rglob("*.part"):
        path.unlink(missing_ok=True)
