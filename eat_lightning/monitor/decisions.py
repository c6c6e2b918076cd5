"""A log of decisions: one JSON line per answer, without the text unless `texts` is set."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock

from eat_lightning.errors import ConfigError

TEXTS = "texts"


class DecisionLog:
    """Appends lines to a file that only its owner may read; several processes may share it.

    Lines are complete or absent: a partial line on a full disk is removed, and if a process was
    killed while writing, the next line starts on a new one.
    """

    def __init__(self, path: str | Path, with_text: bool = False):
        self.path, self.with_text = Path(path), with_text
        if self.path.exists() and not self.path.is_file():  # a pipe without a reader would block
            raise ConfigError(f"log={path} must be a plain file")
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0)
        try:
            self.file = os.open(self.path, flags, 0o600)
        except OSError as error:
            raise ConfigError(f"log={path}: cannot be written ({error.strerror})") from None
        self.lock = FileLock(f"{self.path}.lock", mode=0o600)

    def add(self, decisions: Iterable[dict[str, Any]]) -> None:
        """Append decisions with the current time (UTC).

        Raises:
            OSError: where they cannot be written; then none of them is.
        """
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        dropped = set() if self.with_text else {TEXTS}
        kept = [{k: v for k, v in each.items() if k not in dropped} for each in decisions]
        lines = [json.dumps({"time": now} | each) + "\n" for each in kept]
        with self.lock:
            end = os.fstat(self.file).st_size
            os.lseek(self.file, max(0, end - 1), os.SEEK_SET)  # writes go to the end all the same
            whole = os.read(self.file, 1) in (b"", b"\n")
            left = (("" if whole else "\n") + "".join(lines)).encode()
            try:
                while left:
                    left = left[os.write(self.file, left) :]
            except OSError:
                os.ftruncate(self.file, end)
                raise

    def close(self) -> None:
        os.close(self.file)
