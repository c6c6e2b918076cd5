"""A folder that is written beside its place, and put there as one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def folder_swap(to: Path) -> Iterator[Path]:
    """A folder that takes the place of `to` when all went well, and else leaves nothing."""
    folder = to.with_name(f"{to.name}.{os.getpid()}.part")
    folder.mkdir(parents=True)
    try:
        yield folder
        old = to.with_name(f"{to.name}.{os.getpid()}.old")
        if to.exists():
            to.rename(old)
        folder.rename(to)
        shutil.rmtree(old, ignore_errors=True)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
