"""The gateway's drift monitors, one for each source that has exits of its own, and what is kept of
them over a restart."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eat_lightning.drift.monitor import Event, Monitor
from eat_lightning.drift.observation import Observation
from eat_lightning.drift.reference import Reference
from eat_lightning.infer.backend import Source
from eat_lightning.runs.jsonl import reason
from eat_lightning.serve.lock import only_gateway
from eat_lightning.weights.untrusted import json_of, one_line

FILE = "drift.json"
MOST = 64 << 20  # bytes of it that are read; a source takes some 20,000
EVERY_S = 5.0  # between two writings, where there is no event
DAY_S = 86400
STEADY, DRIFTED, OFF = "steady", "drifted", "off"


def tell(line: str) -> None:
    print(f"drift: {line}", file=sys.stderr, flush=True)


class StateFile:
    """Monitors by source, "" for None. ConfigError where another gateway writes it."""

    def __init__(self, folder: str, key: str):
        self.path = Path(folder) / FILE
        self.lock = only_gateway(Path(folder) / "drift.lock", f"{key}={folder}")
        self.failed = False

    def read(self) -> dict[str, Any]:
        if not self.path.exists():
            return {}
        try:
            content = json_of(self.path, MOST)
            if not isinstance(content, dict):
                raise ValueError("not what a gateway keeps")
            return content
        except (ValueError, OSError) as error:
            tell(f"{self.path} cannot be read ({one_line(error)}): begun anew")
            return {}

    def write(self, content: dict[str, Any]) -> None:
        """Beside and renamed; a disk that is full is told once."""
        beside = self.path.with_name(FILE + ".part")
        try:
            with open(os.open(beside, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w") as file:
                json.dump(content, file)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(self.path)
        except OSError as error:
            if not self.failed:
                tell(f"{self.path} cannot be written ({error})")
            self.failed = True


@dataclass
class Watch:
    """began: when its state began, in seconds since 1970."""

    monitor: Monitor
    identity: str
    began: float = field(default_factory=time.time)

    @property
    def state(self) -> str:
        return DRIFTED if self.monitor.full_depth else STEADY

    def kept(self) -> dict[str, Any]:
        monitor = self.monitor.kept()
        return {"identity": self.identity, "began": self.began, "monitor": monitor}

    def restore(self, kept: Any) -> None:
        """ValueError where that is not this monitor's."""
        if not isinstance(kept, dict) or kept.get("identity") != self.identity:
            raise ValueError("of another reference or run")
        began = kept.get("began")
        if not isinstance(began, int | float) or not 0 <= began <= time.time() + DAY_S:
            raise ValueError("began is no time")
        self.monitor.restore(kept.get("monitor"))
        self.began = float(began)


class Monitors:
    """settings: of each monitor. file: where their state is kept, if anywhere.

    What is kept of another reference, or with other settings, is left out with a line that says so:
    its evidence was of something else.
    """

    def __init__(
        self, normal: Mapping[Source, Reference], settings: dict[str, Any], file: StateFile | None
    ):
        self.settings, self.file, self.changed, self.written = settings, file, False, 0.0
        self.watches: dict[Source, Watch] = {}
        self.take(normal, file.read() if file and normal else {})

    def take(self, normal: Mapping[Source, Reference], kept: Mapping[str, Any]) -> None:
        """New references. One that was there before keeps what its monitor has learnt."""
        before = {watch.identity: watch for watch in self.watches.values()}
        self.watches = {}
        for source, reference in normal.items():
            identity = reference.identity
            if identity in before:
                self.watches[source] = before[identity]
                continue
            watch = Watch(Monitor(reference.seen, **self.settings), identity)
            self.watches[source] = watch
            try:
                if (found := kept.get(source or "")) is not None:
                    watch.restore(found)
            except ValueError as error:
                whose = "" if source is None else f" of source {source}"
                path = self.file and self.file.path
                tell(f"what {path} keeps{whose} is left out ({reason(error)}): begun anew")

    def observe(self, source: Source, seen: Observation) -> Event | None:
        watch = self.watches.get(source)
        if watch is None:
            return None
        self.changed = True
        event = watch.monitor.observe(seen)
        if event is not None:
            watch.began = time.time()
            self.keep(soon=True)
        return event

    @property
    def deep(self) -> frozenset[Source]:
        """Sources that are at full depth."""
        return frozenset(s for s, watch in self.watches.items() if watch.monitor.full_depth)

    @property
    def state(self) -> str:
        if not self.watches:
            return OFF
        return DRIFTED if self.deep else STEADY

    @property
    def began(self) -> float | None:
        """When the state began: drifted with the first alarm that still holds, steady with the
        last return."""
        if drifted := [self.watches[source].began for source in self.deep]:
            return min(drifted)
        return max((watch.began for watch in self.watches.values()), default=None)

    def by_source(self) -> list[dict[str, Any]]:
        """For the page: each one's state, since when, how many were seen and what moved."""
        return [
            {
                "source": source,
                "state": watch.state,
                "began": watch.began,
                "seen": watch.monitor.at,
                "alarms": watch.monitor.num_alarms,
                "feature": watch.monitor.moved,
            }
            for source, watch in self.watches.items()
        ]

    def keep(self, soon: bool = False) -> None:
        """Write an alarm at once, what else was seen every few seconds."""
        due = soon or time.monotonic() - self.written > EVERY_S
        if self.file is None or not self.changed or not due:
            return
        self.changed, self.written = False, time.monotonic()
        self.file.write({source or "": watch.kept() for source, watch in self.watches.items()})
