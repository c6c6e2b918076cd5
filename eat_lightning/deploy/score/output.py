"""The folder of scores: a parquet file for each shard, put in its place whole.

`<name>-<number>.parquet` is there when its shard is done, and not before; what was rejected of it
lies in `_rejects/`, put there first. `_score.json` says what the folder holds, so that a second
start goes on, and one with other settings is refused. Readers of parquet folders pass over names
that begin with "_".
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from filelock import FileLock, Timeout

from eat_lightning.deploy.score.inputs import Input
from eat_lightning.deploy.score.tables import beside, strings
from eat_lightning.deploy.score.windows import Window
from eat_lightning.errors import ConfigError, one_line, reading
from eat_lightning.files import as_dict, write_json
from eat_lightning.runs.run import flat
from eat_lightning.weights.untrusted import json_of

MANIFEST, REJECTS, LOCK = "_score.json", "_rejects", "_lock"
FORMAT = 2
WAIT_S = 10  # for the processes of a start that was killed
SHOWN = 2000  # characters of a rejected text that are kept


class OutputFails(Exception):
    """Nothing can be written any more, as on a full disk."""


@dataclass
class Output:
    """The folder, and the shard that is being written."""

    folder: Path
    shard: ShardWriter | None = None

    def path(self, input: Input, number: int) -> Path:
        return self.folder / f"{input.name}-{number:05d}.parquet"

    def has(self, window: Window) -> bool:
        return self.path(window.source.input, window.shard).is_file()

    def add(self, window: Window, answers: pa.Table) -> None:
        """Write a window's rows; a shard takes its place with its last window. OutputFails where
        nothing can be written."""
        path = self.path(window.source.input, window.shard)
        try:
            if self.shard is None or self.shard.path != path:
                self.leave()
                rejects = (self.folder / REJECTS / path.relative_to(self.folder)).with_suffix("")
                self.shard = ShardWriter(path, rejects.with_name(f"{rejects.name}.jsonl"))
            self.shard.add(window, answers)
            if window.ends_shard:
                self.shard.end()
                self.shard = None
        except (OSError, pa.ArrowException) as error:
            raise OutputFails(f"{path}: {one_line(error, 160)}") from None

    def leave(self) -> None:
        """Let go of a shard whose end will not come."""
        if self.shard is not None:
            self.shard.close()
            self.shard = None

    def num_rows(self) -> int:
        """Rows with an answer in the folder, whenever they were scored."""
        return ds.dataset(self.folder).count_rows()

    @contextmanager
    def held(self, manifest: dict[str, Any]) -> Iterator[None]:
        """Hold the folder until this process and those it started have ended. ConfigError where
        others write there, or it cannot be written."""
        lock = FileLock(self.folder / LOCK, thread_local=False)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=WAIT_S)
            write_json(self.folder / MANIFEST, manifest)
            self.clear()
        except Timeout:
            raise ConfigError(f"output={self.folder}: another `score` writes there") from None
        except OSError as error:
            why = error.strerror
            raise ConfigError(f"output={self.folder}: cannot be written ({why})") from None
        try:
            yield
        finally:
            self.leave()
            self.clear()
            lock.release()

    def clear(self) -> None:
        """Delete what is half-written."""
        for path in self.folder.rglob("*.part"):
            path.unlink(missing_ok=True)


class ShardWriter:
    """Writes a file of the output and that of its rejects, each beside its place until `end`."""

    def __init__(self, path: Path, rejects_path: Path):
        self.path, self.rejects_path = path, rejects_path
        self.file: Any = part_of(path)
        self.rejects: Any = None  # opened with the first one
        self.parquet: Any = None  # its columns come with the first window

    def add(self, window: Window, answers: pa.Table) -> None:
        errors = answers.columns[-1]
        rows = beside(window.kept, answers.drop_columns(answers.column_names[-1:]))
        if self.parquet is None:
            self.parquet = pq.ParquetWriter(self.file, rows.schema, compression="zstd")
        self.parquet.write_table(rows.filter(errors.is_null()))
        for i, why in enumerate(errors.to_pylist()):
            if why is not None:
                self.reject(window, i, why)

    def reject(self, window: Window, i: int, why: str) -> None:
        """Write a row's place, the reason, and its texts (or the line that cannot be read)."""
        self.rejects = self.rejects or part_of(self.rejects_path)
        columns = [window.table[name].slice(i, 1) for name in window.source.texts]
        texts = [text and text[:SHOWN] for column in columns for text in strings(column)]
        row = {"input": window.source.input.name, "row": window.first + i, "reason": why}
        self.rejects.write(json.dumps(row | {"texts": texts}).encode() + b"\n")

    def end(self) -> None:
        """Put both in their places, the rejects first; all of it is on the disk before."""
        self.parquet.close()
        there = [(self.rejects, self.rejects_path)] if self.rejects else []
        there += [(self.file, self.path)]
        for file, _ in there:
            file.flush()
            os.fsync(file.fileno())
        self.close()
        for file, path in there:
            os.replace(file.name, path)

    def close(self) -> None:
        if self.parquet is not None:
            with suppress(OSError, pa.ArrowException):  # the disk may be full
                self.parquet.close()
        for file in (self.file, self.rejects):
            if file is not None:
                file.close()


def part_of(path: Path) -> Any:
    """Open a file beside its place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return Path(f"{path}.part").open("wb")


def earlier_manifest(folder: Path) -> dict[str, Any] | None:
    """What a folder holds; None of a new one. ConfigError where it is something else's."""
    path = folder / MANIFEST
    if path.is_file():
        with reading(path):
            return json_of(path, 64 << 20)
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"output={folder} is no folder")
    if folder.is_dir() and (there := [p.name for p in folder.iterdir() if p.name != LOCK]):
        names = ", ".join(sorted(there)[:3])
        raise ConfigError(f"output={folder} holds other files ({names}): name another one")
    return None


def joined_manifest(folder: Path, earlier: dict | None, wanted: dict[str, Any]) -> dict[str, Any]:
    """What a folder will hold. ConfigError, naming what differs, where it holds other scores than
    are wanted. Files may have been added to the input."""
    wanted = {"format": FORMAT} | json.loads(json.dumps(wanted, default=as_dict))
    if earlier is None:
        return wanted
    inputs = earlier.get("inputs", {})
    here, there = (flat({**each, "inputs": None}) for each in (earlier, wanted))
    if keys := sorted(k for k in here.keys() | there.keys() if here.get(k) != there.get(k)):
        raise ConfigError(
            f"output={folder} holds scores of another run or other settings "
            f"({', '.join(keys[:6])}): name another folder, or delete it"
        )
    for name, fingerprint in inputs.items():
        if wanted["inputs"].get(name, fingerprint) != fingerprint:
            raise ConfigError(f"input: {name} is not what it was when {folder} was begun")
    return wanted | {"inputs": inputs | wanted["inputs"]}
