"""Which files are scored, and how they are cut into shards.

A shard is a run of row groups of a parquet file, or the lines of a file that begin in a range of
its bytes, so that no file is read to be cut; a csv file is one, since its rows may hold line ends.
It is what a worker takes, and what becomes one file of the output.
"""

from __future__ import annotations

import glob
import hashlib
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from eat_lightning.errors import ConfigError, Faults, reading

SUFFIXES = {
    ".parquet": "parquet",
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".txt": "text",
    ".text": "text",
}
ENDS = 1 << 16  # bytes of a file's begin and end that go into its fingerprint
KNOWN = ", ".join(dict.fromkeys(SUFFIXES.values()))


@dataclass(frozen=True)
class Input:
    """A file. name: its path within what was given as input, under which its shards are written."""

    path: Path
    name: str
    format: str

    @property
    def fingerprint(self) -> str:
        """Size, and a hash of both ends: a corpus is not read twice to see that it is the same."""
        size = self.path.stat().st_size
        with self.path.open("rb") as file:
            ends = file.read(ENDS)
            file.seek(max(0, size - ENDS))
            ends += file.read(ENDS)
        return f"{size}-{hashlib.sha256(ends).hexdigest()[:16]}"


@dataclass(frozen=True)
class Shard:
    """start, end: row groups of a parquet file, else bytes in which its lines begin. first_row: of
    a parquet file. weight: bytes, for the time that is left."""

    input: Input
    number: int
    start: int
    end: int
    weight: int
    first_row: int = 0

    @property
    def name(self) -> str:
        return f"{self.input.name}-{self.number:05d}"


def found_inputs(given: Iterable[str], format: str | None) -> tuple[list[Input], list[str]]:
    """The files of paths, folders and patterns, and those in folders that are of no known format.
    ConfigError with every fault."""
    inputs, left_out, faults = dict[str, Input](), [], Faults()
    for path in given:
        with faults.gathered():
            for file, name in files_of(path):
                form = format or SUFFIXES.get(file.suffix.lower())
                if form is None and Path(path).is_dir():
                    left_out.append(str(file))
                elif form is None:
                    faults.append(f"input={file}: of no known format ({KNOWN}): give format=")
                elif name in inputs and inputs[name].path != file:
                    faults.append(f"input: {inputs[name].path} and {file} have one name, {name}")
                else:
                    inputs[name] = Input(file, name, form)
    if not inputs and not faults:
        faults.append(f"input={', '.join(given)}: no file of a known format ({KNOWN})")
    faults.check()
    return [inputs[name] for name in sorted(inputs)], left_out


def files_of(given: str) -> Iterator[tuple[Path, str]]:
    """Files, each with its name in the output; of a folder all that are not hidden."""
    path = Path(given)
    matched = [path] if path.exists() else sorted(Path(p) for p in glob.glob(given, recursive=True))
    if not matched:
        raise ConfigError(f"input={given}: there is no such file or folder")
    for found in matched:
        if found.is_file():
            yield found, found.name
            continue
        for folder, folders, names in os.walk(found):
            folders[:] = sorted(name for name in folders if name[0] not in "._")
            for name in sorted(name for name in names if name[0] not in "._"):
                file = Path(folder, name)
                yield file, file.relative_to(found).as_posix()


def cut(inputs: Sequence[Input], size: float) -> list[Shard]:
    """Shards of about `size` bytes. ConfigError with a line for every file that cannot be read."""
    shards, faults = [], Faults()
    for input in inputs:
        with faults.gathered(), reading(f"input={input.path}", pa.ArrowException):
            how = {"parquet": groups_of, "csv": lambda input, _: ranges(input, math.inf)}
            shards += how.get(input.format, ranges)(input, size)
    faults.check()
    return shards


def ranges(input: Input, size: float) -> Iterator[Shard]:
    """Shards of a file of lines. An empty file is one shard without lines."""
    with input.path.open("rb"):  # whether it may be read is known before anything is scored
        whole = input.path.stat().st_size
        step = max(1, int(min(size, whole)))
    for number, start in enumerate(range(0, max(1, whole), step)):
        end = min(start + step, whole)
        yield Shard(input, number, start, end, end - start)


def groups_of(input: Input, size: float) -> Iterator[Shard]:
    """Shards of a parquet file: row groups that follow one another, one at least."""
    about = pq.read_metadata(input.path)
    groups = [about.row_group(i) for i in range(about.num_row_groups)]
    weights = [
        max(1, sum(g.column(c).total_compressed_size for c in range(g.num_columns))) for g in groups
    ]
    number = start = row = first_row = weight = 0
    for i, group in enumerate(groups):
        row, weight = row + group.num_rows, weight + weights[i]
        if weight + (weights[i + 1] if i + 1 < len(groups) else size) > size:
            yield Shard(input, number, start, i + 1, weight, first_row)
            number, start, first_row, weight = number + 1, i + 1, row, 0
    if not groups:
        yield Shard(input, 0, 0, 0, 0)
