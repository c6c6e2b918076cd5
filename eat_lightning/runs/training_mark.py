"""Mark of a training on this machine: nothing is timed meanwhile."""

from __future__ import annotations

import getpass
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout


def marks() -> Path:
    """One place for the whole machine, wherever runs go."""
    user = getattr(os, "getuid", getpass.getuser)()
    return Path(tempfile.gettempdir()) / f"eat_lightning-trains-{user}"


@contextmanager
def training_mark() -> Iterator[None]:
    """Hold a locked file that says "something trains here", so that nothing is timed meanwhile. The
    lock ends with its process, however that ends."""
    mark = marks() / str(os.getpid())
    mark.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(mark):
        try:
            yield
        finally:
            mark.unlink(missing_ok=True)


def who_trains() -> list[int]:
    """Processes that train on this machine."""
    found = []
    for mark in marks().glob("*"):
        try:
            with FileLock(mark, timeout=0):
                pass
        except Timeout:
            found.append(int(mark.name))
    return found


def training_faults(instead: str) -> list[str]:
    """Tell why nothing is timed now. instead: the settings that do without."""
    return [
        f"a run trains here (process {pid}), so nothing is timed: wait for it, or give {instead}"
        for pid in who_trains()
    ]
