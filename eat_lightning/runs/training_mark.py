"""A lock that marks a training on this machine, so that nothing is timed at the same time."""

from __future__ import annotations

import getpass
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout


def marks() -> Path:
    """Folder of the locks, one for the whole machine."""
    user = getattr(os, "getuid", getpass.getuser)()
    return Path(tempfile.gettempdir()) / f"eat_lightning-trains-{user}"


@contextmanager
def training_mark() -> Iterator[None]:
    """Hold a lock while training, so that nothing is timed meanwhile. The operating system releases
    it when the process ends, however it ends.
    """
    mark = marks() / str(os.getpid())
    mark.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(mark):
        try:
            yield
        finally:
            mark.unlink(missing_ok=True)


def who_trains() -> list[int]:
    """Return the ids of processes that are training on this machine."""
    found = []
    for mark in marks().glob("*"):
        try:
            with FileLock(mark, timeout=0):
                pass
        except Timeout:
            found.append(int(mark.name))
    return found


def training_faults(instead: str) -> list[str]:
    """Explain why nothing can be timed now.

    Args:
        instead: settings that work without timing.
    """
    return [
        (
            f"a run is training on this machine (process {pid}), so nothing can be timed: wait "
            f"for it, or give {instead}"
        )
        for pid in who_trains()
    ]
