"""A drift monitor beside a model that answers, with its state kept over restarts."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from eat_lightning.errors import ConfigError
from eat_lightning.files import as_dict, write_json
from eat_lightning.monitor.monitor import DriftEvent, Monitor
from eat_lightning.monitor.observation import Observation
from eat_lightning.monitor.reference import Reference
from eat_lightning.untrusted import json_of
from eat_lightning.validation import fault_text

FILE = "drift.json"
MOST = 1 << 20  # bytes of it that are read; it takes some 20,000
EVERY_S = 1.0  # between two writes, where there is no event
STEADY, DRIFTED, OFF = "steady", "drifted", "off"


@cache
def tell(line: str) -> None:
    """Print a line on standard error once; repeated write errors would give the same line."""
    print(f"drift: {line}", file=sys.stderr, flush=True)


class DriftWatch:
    """A monitor if there is a reference; without one `observe` returns no events.

    A stored state of another reference, or with other settings, is ignored, and a line says so.

    Args:
        settings: of the monitor, see `MonitorSettings`.
        folder: for its state; None: it is not stored.

    Raises:
        ConfigError: where the folder cannot be used.
    """

    def __init__(
        self, normal: Reference | None, settings: dict[str, Any], folder: str | None = None
    ):
        if folder and not os.access(folder, os.W_OK):
            raise ConfigError(f"drift.state={folder}: cannot be written")
        self.file = Path(folder) / FILE if folder else None
        self.settings, self.changed, self.written = settings, False, 0.0
        self.normal: Reference | None = None
        self.monitor: Monitor | None = None
        self.began: float | None = None  # the state, in seconds since 1970
        self.take(normal)

    def take(self, normal: Reference | None) -> None:
        """Compare with this reference from now on. If it equals the current one, the
        state is kept.
        """
        if normal == self.normal:
            return
        self.normal = normal
        self.monitor = None if normal is None else Monitor(normal.seen, **self.settings)
        self.began = None if normal is None else time.time()
        if self.monitor is not None and self.file is not None and self.file.exists():
            self.restore(self.monitor, self.file)

    def observe(self, seen: Iterable[Observation]) -> list[DriftEvent]:
        """Observe a batch of answers in order; returns the alarms and returns it triggers.
        `observations(trace)` gives the observations of a model's answers.
        """
        if (monitor := self.monitor) is None:
            return []
        events = [event for each in seen if (event := monitor.observe(each)) is not None]
        self.changed = True
        if events:
            self.began = time.time()
            self.keep(soon=True)
        return events

    @property
    def name(self) -> str:
        """Hash of the reference and settings that a stored state is valid for."""
        normal = None if self.normal is None else self.normal.content
        decides = json.dumps([normal, self.settings], sort_keys=True, default=as_dict)
        return hashlib.sha256(decides.encode()).hexdigest()

    def restore(self, monitor: Monitor, file: Path) -> None:
        """Continue from the stored state, or start anew with a line that says why."""
        try:
            kept = json_of(file, MOST)
            if not isinstance(kept, dict) or kept.get("name") != self.name:
                raise ValueError("of another reference, run or settings")
            began = float(kept["began"])
            monitor.restore(kept["monitor"])
            self.began = began
        except (KeyError, TypeError, ValueError, OSError) as error:
            tell(f"the state in {file} is ignored ({fault_text(error)}): starting anew")

    def keep(self, soon: bool = False) -> None:
        """Write new state, at once after an event, else at most every second."""
        due = soon or time.monotonic() - self.written > EVERY_S
        if self.file is None or self.monitor is None or not self.changed or not due:
            return
        content = {"name": self.name, "began": self.began, "monitor": self.monitor.kept()}
        try:
            write_json(self.file, content)
        except OSError as error:
            tell(f"{self.file} cannot be written ({error})")
        self.changed, self.written = False, time.monotonic()

    @property
    def deep(self) -> bool:
        """True from an alarm to the return, while examples should run every layer."""
        return self.monitor is not None and self.monitor.full_depth

    @property
    def state(self) -> str:
        if self.monitor is None:
            return OFF
        return DRIFTED if self.deep else STEADY

    @property
    def seen(self) -> int:
        """Number of answers observed so far."""
        return 0 if self.monitor is None else self.monitor.at
