"""Write a folder beside its place, and move it there atomically."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def folder_swap(to: Path) -> Iterator[Path]:
    """Yield a temporary folder that replaces `to` on success and is removed on failure."""
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
