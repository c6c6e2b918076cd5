"""Folders that the tests of all worker processes share, each made once."""

from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

FOLDER = Path()  # conftest.py sets it: one for all workers of a test run


def once(name: str, make: Callable[[Path], object]) -> Path:
    """Return the folder of that name; the first caller of all workers makes it, under a lock.

    Tests read it. One that writes into it takes a copy.
    """
    folder = FOLDER / name
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        made = folder.with_suffix(".made")
        if not made.exists():
            folder.mkdir()
            make(folder)
            made.touch()
    return folder
