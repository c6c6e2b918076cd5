"""The folder of scores: one parquet file per shard, written atomically.

`<name>-<number>.parquet` exists if and only if its shard is done. Rejected rows are in `_rejects/`,
written first. `_score.json` describes the content, so that a second call resumes, and one with
other settings is refused. Readers of parquet folders skip names that begin with "_".
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock, Timeout

from eat_lightning.deploy.score.tables import strings, with_columns
from eat_lightning.deploy.score.windows import Window
from eat_lightning.errors import ConfigError, one_line, reading
from eat_lightning.files import as_dict, replacing, write_json
from eat_lightning.runs.run import flat
from eat_lightning.untrusted import json_of

MANIFEST, REJECTS, LOCK = "_score.json", "_rejects", "_lock"
FORMAT = 2
WAIT_S = 10  # for the processes of a start that was killed
SHOWN = 2000  # characters of a rejected text that are kept


class OutputFails(Exception):
    """Error: nothing can be written any more, for example on a full disk."""


@dataclass
class Output:
    """The output folder, and the shard that is being collected.

    Args:
        path: of the shard.
        tables: its rows with an answer.
        rejects: its other rows, as JSON lines.
    """

    folder: Path
    path: Path | None = None
    tables: list[pa.Table] = field(default_factory=list)
    rejects: list[str] = field(default_factory=list)

    def path_of(self, window: Window) -> Path:
        return self.folder / f"{window.source.input.name}-{window.shard:05d}.parquet"

    def has(self, window: Window) -> bool:
        return self.path_of(window).is_file()

    def add(self, window: Window, answers: pa.Table) -> None:
        """Add a window's rows; the last window of a shard writes it.

        Raises:
            OutputFails: where nothing can be written.
        """
        path = self.path_of(window)
        if self.path != path:  # the one before has no end if its file is damaged
            self.path, self.tables, self.rejects = path, [], []
        errors = answers.columns[-1]
        rows = with_columns(window.kept, answers.drop_columns(answers.column_names[-1:]))
        self.tables.append(rows.filter(errors.is_null()))
        wrong = [(i, why) for i, why in enumerate(errors.to_pylist()) if why is not None]
        self.rejects += [json.dumps(reject(window, i, why)) for i, why in wrong]
        if window.ends_shard:
            try:
                self.write_shard(path)
            except (OSError, pa.ArrowException) as error:
                raise OutputFails(f"{path}: {one_line(error, 160)}") from None

    def write_shard(self, path: Path) -> None:
        """Write the rejects and then the answers, which mark the shard as done."""
        if self.rejects:
            name = path.relative_to(self.folder).with_suffix(".jsonl")
            with on_disk(self.folder / REJECTS / name) as file:
                file.write("".join(f"{line}\n" for line in self.rejects).encode())
        with on_disk(path) as file:
            pq.write_table(pa.concat_tables(self.tables), file, compression="zstd")

    @contextmanager
    def lock(self, manifest: dict[str, Any]) -> Iterator[None]:
        """Lock the folder until this process and its children have ended.

        Raises:
            ConfigError: where another process writes there, or it is not writable.
        """
        file_lock = FileLock(self.folder / LOCK, thread_local=False)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            held = file_lock.acquire(timeout=WAIT_S)
            for path in self.folder.rglob("*.part"):  # of a start that was killed
                path.unlink(missing_ok=True)
            write_json(self.folder / MANIFEST, manifest)
        except Timeout:
            raise ConfigError(f"output={self.folder}: another `score` writes there") from None
        except OSError as error:
            why = error.strerror
            raise ConfigError(f"output={self.folder}: cannot be written ({why})") from None
        with held:
            yield


def reject(window: Window, i: int, why: str) -> dict[str, Any]:
    """Return a row's position, the reason, and its texts or the unreadable line."""
    columns = [window.table[name].slice(i, 1) for name in window.source.texts]
    texts = [text and text[:SHOWN] for column in columns for text in strings(column)]
    place = {"input": window.source.input.name, "row": window.first + i}
    return place | {"reason": why, "texts": texts}


@contextmanager
def on_disk(path: Path) -> Iterator[BinaryIO]:
    """Yield a file that is moved into place once all of it is on disk."""
    with replacing(path) as beside, beside.open("wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """Return the description of a folder; None for a new one. Raises ConfigError for a folder with
    other content.
    """
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


def merge_manifests(folder: Path, earlier: dict | None, wanted: dict[str, Any]) -> dict[str, Any]:
    """Return the description of a folder after this call. Files may have been added to the input.

    Raises:
        ConfigError: naming the differences, where it holds other scores.
    """
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
            raise ConfigError(f"input: {name} has changed since {folder} was started")
    return wanted | {"inputs": inputs | wanted["inputs"]}
