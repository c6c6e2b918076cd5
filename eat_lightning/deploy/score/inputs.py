"""Find the files to score."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from glob import glob
from pathlib import Path

from eat_lightning.errors import Faults

FORMATS = {".parquet": "parquet", ".csv": "csv", ".txt": "text", ".text": "text"}
FORMATS |= {".jsonl": "jsonl", ".ndjson": "jsonl"}
KNOWN = ", ".join(dict.fromkeys(FORMATS.values()))


@dataclass(frozen=True)
class Input:
    """A file.

    Args:
        name: its path relative to the given input, which names its shards.
    """

    path: Path
    name: str
    format: str

    @property
    def fingerprint(self) -> list[int]:
        """Size and modification time, which identify an unchanged file."""
        stat = self.path.stat()
        return [stat.st_size, stat.st_mtime_ns]


def find_inputs(given: Iterable[str], format: str | None) -> list[Input]:
    """Return the files of paths, folders and patterns. In folders, hidden files and unknown formats
    are skipped. Raises ConfigError with every error.
    """
    inputs, left_out, faults = dict[str, Input](), [], Faults()
    for path in given:
        here = [path] if Path(path).exists() else sorted(glob(path, recursive=True))
        if not here:
            faults.append(f"input={path}: there is no such file or folder")
        for file, name in (each for found in here for each in files_of(Path(found))):
            kind = format or FORMATS.get(file.suffix.lower())
            if kind is None and Path(path).is_dir():
                left_out.append(str(file))
            elif kind is None:
                faults.append(f"input={file}: of no known format ({KNOWN}): give format=")
            elif name in inputs and inputs[name].path != file:
                faults.append(f"input: {inputs[name].path} and {file} have one name, {name}")
            else:
                inputs[name] = Input(file, name, kind)
    if not inputs and not faults:
        faults.append(f"input={', '.join(given)}: no file of a known format ({KNOWN})")
    faults.check()
    if left_out:
        print(f"left out, of no known format: {len(left_out)} files, such as {left_out[0]}")
    return [inputs[name] for name in sorted(inputs)]


def files_of(path: Path) -> Iterator[tuple[Path, str]]:
    """Yield a file, or all files of a folder that are not hidden, each with its name in
    the output.
    """
    if path.is_file():
        yield path, path.name
        return
    for file in sorted(each for each in path.rglob("*") if each.is_file()):
        name = file.relative_to(path)
        if not any(part[0] in "._" for part in name.parts):
            yield file, name.as_posix()
