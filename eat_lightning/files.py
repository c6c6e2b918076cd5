"""Files that take their place whole: a reader sees the old one or the new one, never a half; and
what tells files apart by their contents."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

UMASK = os.umask(0)  # of new files; it can be read by setting it alone
os.umask(UMASK)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a path beside `path`, in a folder that is made where it lacks; what was written there
    takes its place when all went well, and else leaves nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        yield beside
        beside.chmod(0o666 & ~UMASK)  # safetensors would let nobody else read it
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


@contextmanager
def folder_swap(to: Path) -> Iterator[Path]:
    """Yield a temporary folder that replaces `to` on success and is removed on failure."""
    folder = to.with_name(f"{to.name}.{os.getpid()}.part")
    old = to.with_name(f"{to.name}.{os.getpid()}.old")
    shutil.rmtree(folder, ignore_errors=True)  # of a killed process that had the same number
    folder.mkdir(parents=True)
    try:
        yield folder
        if to.exists():
            to.rename(old)
        folder.rename(to)
        shutil.rmtree(old, ignore_errors=True)
    except BaseException:
        if old.exists() and not to.exists():
            old.rename(to)
        shutil.rmtree(folder, ignore_errors=True)
        raise


def link(path: Path, to: Path) -> None:
    """Make a second name for a file or, where the file system has none, a copy."""
    try:
        os.link(path, to)
    except OSError:
        shutil.copyfile(path, to)


def write_text(path: Path, text: str) -> None:
    with replacing(path) as beside:
        beside.write_text(text)


def as_dict(value: Any) -> dict[str, Any]:
    """The plain values that an object stands for in a file, for `json.dumps(…, default=…)`: those
    of its `as_dict` or, of a dataclass without one, its fields."""
    return value.as_dict() if hasattr(value, "as_dict") else asdict(value)


def fields_of(record: Any) -> dict[str, Any]:
    """The values of a dataclass by field."""
    return {field.name: getattr(record, field.name) for field in fields(record)}


def write_json(path: Path, content: Any) -> None:
    write_text(path, json.dumps(content, indent=2, sort_keys=True, default=as_dict) + "\n")


def sha256_of(paths: Sequence[Path]) -> str:
    """The hash of files' contents; of several, with their names."""
    whole = hashlib.sha256()
    for path in paths:
        if len(paths) > 1:
            whole.update(path.name.encode() + b"\0")
        with path.open("rb") as file:
            hashlib.file_digest(file, lambda: whole)
    return whole.hexdigest()
