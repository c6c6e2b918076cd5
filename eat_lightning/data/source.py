"""Texts and labels of a split, from a folder of parquet, csv or JSON files, or from the hub."""

from __future__ import annotations

import csv
import hashlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import pyarrow as pa

from eat_lightning.data import hub
from eat_lightning.data.calibration import num_blank
from eat_lightning.data.task import Task
from eat_lightning.data.text_files import SUFFIXES, TABLES, is_text, opened, read_texts
from eat_lightning.errors import ConfigError, Faults

ORIGIN = "source"  # an optional column


@dataclass
class Source:
    """Texts and labels of a split.

    Args:
        texts: one list per column.
        labels: int64, float32 for a score, or rows of 0 and 1 (N x C) for several labels.
        origins: source of each row, from a file's column "source"; None without it.
    """

    texts: list[list[str]]
    labels: np.ndarray
    origins: list[str] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def digest(self) -> str:
        """Hash of all examples in order: texts, labels and sources."""
        content = [*self.texts, self.labels.tolist(), self.origins]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    def take(self, rows: np.ndarray) -> Source:
        origins = None if self.origins is None else [self.origins[i] for i in rows]
        texts = [[column[i] for i in rows] for column in self.texts]
        return Source(texts, self.labels[rows], origins)

    def __add__(self, other: Source) -> Source:
        texts = [a + b for a, b in zip(self.texts, other.texts, strict=True)]
        origins = None
        if self.origins is not None and other.origins is not None:
            origins = self.origins + other.origins
        return Source(texts, np.concatenate([self.labels, other.labels]), origins)


def check(
    task: Task, dir: str | None, extra: Sequence[str] = (), drop_sources: Sequence[str] = ()
) -> list[str]:
    """List errors in a task's data, one line each, from schemas and label columns alone."""
    if dir is None:
        return hub_faults(task, extra, drop_sources)
    if not isinstance(dir, str):
        return [f"data.dir must be a folder, got {dir!r}"]
    folder = Path(dir).expanduser()
    if not folder.is_dir():
        return [f"data.dir: there is no folder {folder}"]
    files = [file_of(task, dir, split) for split in ("train", "validation")]
    files += [f for split in task.validation if (f := file_of(task, dir, split)).is_file()]
    files += [present(folder / name / "train") for name in extra]
    faults = [fault for path in dict.fromkeys(files) for fault in file_faults(task, path)]
    return faults + source_faults(task, dir, drop_sources)


def read(task: Task, dir: str | None, split: str) -> Source:
    """Read a split.

    Raises:
        ConfigError: for errors that `check` could not find.
    """
    if dir is None:
        return as_source(task, read_hub(task, split), f"{task.hub} {task.hub_config} {split}")
    return read_file(task, file_of(task, dir, split))


def read_file(task: Task, path: Path) -> Source:
    Faults(file_faults(task, path)).check()
    table = opened(path, task.columns).read(columns=[*task.columns, task.label_column, ORIGIN])
    return as_source(task, table, str(path))


def unlabelled(task: Task, path: Any) -> Source:
    """Read unlabelled texts from the task's columns of a table, or from the lines of a txt file.

    Raises:
        ConfigError: where they cannot be read.
    """
    file = Path(str(path)).expanduser()
    if not file.is_file():
        raise ConfigError(f"data.texts: there is no file {path}")
    if file.suffix not in SUFFIXES:
        raise ConfigError(f"data.texts must be a file of {', '.join(SUFFIXES)}, got {path}")
    rows, _ = read_texts(file, task.columns, "data.texts")
    if not rows:
        raise ConfigError(f"data.texts: {path} is empty")
    kind = task.kind
    labels = np.full((len(rows), *kind.label_shape), kind.unlabelled, kind.label_dtype)
    return Source([list(column) for column in zip(*rows, strict=True)], labels)


def kept_by_source(task: Task, dir: str | None, drop_sources: Sequence[str]) -> np.ndarray:
    """Return whether each row of train comes from none of these sources (train_sources)."""
    if dir is None:
        raise ConfigError("data.drop_sources needs data.dir")
    Faults(source_faults(task, dir, drop_sources)).check()
    table = opened(file_of(task, dir, "train_sources"), ()).read()
    dropped = np.isin(table["source"].to_pylist(), list(drop_sources))
    idx = opened(file_of(task, dir, "train"), task.columns).read(columns=["idx"])["idx"]
    return ~np.isin(idx.to_numpy(), table["idx"].to_numpy()[dropped])


def file_of(task: Task, dir: str, split: str) -> Path:
    return present(Path(dir).expanduser() / task.name / split)


def present(stem: Path) -> Path:
    """Return the first existing file of that name in a supported format, or the parquet path."""
    paths = [stem.with_name(stem.name + ending) for ending in TABLES]
    return next((path for path in paths if path.is_file()), paths[0])


def as_source(task: Task, table: pa.Table, where: str) -> Source:
    faults = label_faults(task, table[task.label_column], where)
    faults += [
        f"{where}: column {c} has no text in {place(where, table[c].to_pylist().index(None))}"
        for c in task.columns
        if table[c].null_count
    ]
    Faults(faults).check()
    texts = [table[column].to_pylist() for column in task.columns]
    tell_blank(where, num_blank(texts), len(texts[0]))
    numbers = numbers_of(task, table[task.label_column])
    if task.kind.label_shape:
        labels = rows_of(numbers, task.num_labels)
    else:
        labels = numbers.to_numpy().astype(task.kind.label_dtype)
    known = ORIGIN in table.column_names
    origins = [str(name) for name in table[ORIGIN].to_pylist()] if known else None
    return Source(texts, labels, origins)


@cache
def tell_blank(where: str, num: int, whole: int) -> None:
    """Print on standard error, once, how many rows have a blank text. They are not left out."""
    if num:
        print(f"{where}: {num} of {whole} rows have a blank text", file=sys.stderr, flush=True)


def read_hub(task: Task, split: str, load: Callable[..., Any] | None = None) -> pa.Table:
    """Read a split from the hub.

    Args:
        load: replaces `datasets.load_dataset`, for tests.
    """
    import datasets

    load = load or datasets.load_dataset
    if task.hub_config is None:
        raise ConfigError.of(hub_faults(task))
    name = task.validation.get(split, split)
    try:
        with hub.as_reachable():
            data = load(task.hub, task.hub_config, split=name)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"task {task.name} has no data: give data.dir=<folder with {task.name}/train.parquet> "
            f"(or set EAT_DATA), or let the hub be reached for {task.hub} "
            f"({' '.join(str(error).split())[:160]})"
        ) from None
    return data.with_format("arrow")[:]


def hub_faults(
    task: Task, extra: Sequence[str] = (), drop_sources: Sequence[str] = ()
) -> list[str]:
    given = {"data.extra": extra, "data.drop_sources": drop_sources}
    faults = [f"{key}={list(names)} needs data.dir" for key, names in given.items() if names]
    if task.hub_config is None:
        return [*faults, f"task {task.name} is not on the hub: give data.dir (or set EAT_DATA)"]
    if not hub.reachable():  # then only its cache can have the data
        try:
            read_hub(task, "validation")
        except ConfigError as error:
            faults.append(str(error))
    return faults


def file_faults(task: Task, path: Path) -> list[str]:
    if not path.is_file():
        others = ", ".join(TABLES[1:])
        return [f"data.dir: there is no file {path} (or {others}), which task {task.name} needs"]
    try:
        file = opened(path, task.columns)
        types = dict(zip(file.schema_arrow.names, file.schema_arrow.types, strict=True))
        missing = [c for c in [*task.columns, task.label_column] if c not in types]
        if missing:
            return [f"{path}: there is no column {c}, only {', '.join(types)}" for c in missing]
        faults = [
            f"{path}: column {c} must hold text, got {types[c]}"
            for c in task.columns
            if not is_text(types[c])
        ]
        labels = file.read(columns=[task.label_column])[task.label_column]
        return faults + label_faults(task, labels, str(path))
    except (pa.ArrowException, OSError, ValueError) as error:
        return [f"{path}: not a readable {path.suffix[1:]} file ({str(error).splitlines()[0]})"]


def label_faults(task: Task, labels: pa.ChunkedArray, where: str) -> list[str]:
    if len(labels) == 0:
        return [f"{where}: the split is empty"]
    if task.kind.label_shape:
        return several_faults(task, labels, where)
    numbers = numbers_of(task, labels)
    kind = numbers.type
    if not (pa.types.is_integer(kind) or (task.regression and pa.types.is_floating(kind))):
        return [f"{where}: column label must hold numbers, got {kind}"]
    low, high = task.label_range if task.regression else (0, task.num_labels - 1)
    values = numbers.to_numpy().astype(np.float64)  # a null becomes NaN
    outside = np.flatnonzero(~((values >= low) & (values <= high)))
    if not len(outside):
        return []
    row, names = int(outside[0]), f" ({', '.join(task.labels)})" if task.labels else ""
    found = f"got {labels[row].as_py()!r:.60} in {place(where, row)}"
    return [f"{where}: label must be in {low}..{high}{names}, {found}"]


def several_faults(task: Task, labels: pa.ChunkedArray, where: str) -> list[str]:
    """List errors in a column with a list of labels for each example."""
    column = f"{where}: column {task.label_column}"
    if not is_list(labels.type):
        return [f"{column} must hold lists of numbers or of names, got {labels.type}"]
    numbers, most = numbers_of(task, labels), task.num_labels - 1
    if not pa.types.is_integer(numbers.type.value_type):
        return [f"{column} must hold lists of numbers or of names, got {labels.type}"]
    for row, (given, found) in enumerate(zip(labels.to_pylist(), numbers.to_pylist(), strict=True)):
        if found is None or any(number is None or not 0 <= number <= most for number in found):
            names = ", ".join(task.labels)
            got = f"got {given!r:.60} in {place(where, row)}"
            return [f"{where}: labels must each be in 0..{most} ({names:.200}), {got}"]
    return []


def rows_of(numbers: pa.ChunkedArray, num_labels: int) -> np.ndarray:
    """Return lists of labels as rows of 0 and 1 (N x C)."""
    rows = np.zeros((len(numbers), num_labels), np.int64)
    lists = numbers.to_pylist()
    where = np.repeat(np.arange(len(lists)), [len(found) for found in lists])
    rows[where, [number for found in lists for number in found]] = 1
    return rows


def place(where: str, row: int) -> str:
    """Describe the position of a row (from 0): the line number as in an editor, if the file has
    lines.
    """
    path = Path(where)
    if path.suffix not in TABLES[1:]:
        return f"row {row}"
    with path.open(encoding="utf-8-sig", newline="") as file:
        if path.suffix == ".csv":
            begun = islice(csv_lines(file), row + 1, None)  # the header is the first
        else:
            begun = islice((n for n, line in enumerate(file, 1) if line.strip()), row, None)
        return f"line {next(begun)}"


def csv_lines(file: TextIO) -> Iterator[int]:
    """Yield the line at which each record begins. A record may span several lines."""
    reader, begun = csv.reader(file), 1
    for record in reader:
        if record:
            yield begun
        begun = reader.line_num + 1


def numbers_of(task: Task, labels: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return labels as numbers. Names are looked up in the task; unknown ones become null."""
    number_of = {str(name): number for number, name in enumerate(task.labels)}
    if is_list(labels.type) and is_text(labels.type.value_type):
        found = [
            None if names is None else [number_of.get(name) for name in names]
            for names in labels.to_pylist()
        ]
        return pa.chunked_array([found], pa.list_(pa.int64()))
    if task.regression or not is_text(labels.type):
        return labels
    return pa.chunked_array([[number_of.get(name) for name in labels.to_pylist()]], pa.int64())


def is_list(kind: pa.DataType) -> bool:
    kinds = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    return any(is_kind(kind) for is_kind in kinds)


def source_faults(task: Task, dir: str, drop_sources: Sequence[str]) -> list[str]:
    if not drop_sources:
        return []
    path = file_of(task, dir, "train_sources")
    if not path.is_file():
        return [f"data.drop_sources: there is no file {path}"]
    known = set(opened(path, ()).read(columns=["source"])["source"].to_pylist())
    return [
        f"data.drop_sources: {path} has no source {name}, only {', '.join(sorted(known))}"
        for name in drop_sources
        if name not in known
    ]
