"""JSON lines, one record per line: storage for the rows of every command, and for trials.

A record is a dataclass that rejects invalid values on construction, so records that were read are
valid. Files are written to a temporary name and renamed: readers see the old file or the new one.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Hashable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock

from eat_lightning.errors import ConfigError, one_line
from eat_lightning.files import as_dict, fields_of, write_text
from eat_lightning.untrusted import ROWS, parsed, text_of
from eat_lightning.validation import fault_text

R = TypeVar("R")


def read(path: Path | str, kind: type[R], name: str = "row") -> list[R]:
    """Read all records; an empty list without a file.

    Raises:
        ConfigError: naming the first damaged line.
    """
    records, faults = read_whole(path, kind, name)
    if faults:
        raise ConfigError(faults[0])
    return records


def read_whole(path: Path | str, kind: type[R], name: str = "row") -> tuple[list[R], list[str]]:
    """Return the valid records, and a message for each damaged line."""
    if not Path(path).is_file():
        return [], []
    try:
        lines = text_of(Path(path), ROWS).splitlines()
    except (OSError, ValueError) as error:
        return [], [f"{path}: cannot be read ({one_line(error)})"]
    records, faults = [], []
    for number, line in enumerate(lines, start=1):
        try:
            records.append(kind(**parsed(line)))
        except (ValueError, TypeError) as error:
            faults.append(f"{path}, line {number}: not a {name} ({fault_text(error)})")
    return records, faults


def write(
    path: Path | str, records: Iterable[Any], content: Callable[[Any], dict[str, Any]] = fields_of
) -> None:
    """Write a file with exactly these records.

    Args:
        content: returns the JSON object of a record's line.
    """
    lines = (json.dumps(content(r), separators=(",", ":"), default=as_dict) for r in records)
    write_text(Path(path), "".join(line + "\n" for line in lines))


def update(
    path: Path | str,
    kind: type[R],
    new: Iterable[R],
    replaces: Callable[[Any], Iterable[Hashable]] = lambda record: [record.key],
) -> list[R]:
    """Add records, replacing those with the same `key`, and return all. No other process may update
    the file at the same time.

    Args:
        replaces: keys that a new record replaces, if more than its own.
    """
    new = list(new)
    gone = {key for record in new for key in replaces(record)}
    # The lock lies in the machine's temporary folder, so that none lies among results.
    name = hashlib.sha256(str(Path(path).resolve()).encode()).hexdigest()[:16]
    with FileLock(Path(tempfile.gettempdir()) / f"eat_lightning-{name}.lock"):
        old: list[Any] = read(path, kind)
        write(path, records := [*(record for record in old if record.key not in gone), *new])
    return records
