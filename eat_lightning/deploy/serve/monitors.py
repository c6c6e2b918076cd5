"""The gateway's drift monitors, one for each source that has exits of its own, and what is kept of
them over a restart, and shared with other gateways.

Several gateways may keep their monitors in one folder. Each goes ahead of the file by what it saw
since, and every second adds that to whatever the others have written by then: under a lock it takes
their state, shows it what it saw itself, and writes the result. So what the file holds is one
monitor that has seen each answer of all gateways once, in the order in which they came to the lock,
and its bound on false alarms is that of one monitor, however they interleave.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import sys
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from eat_lightning.deploy.drift.monitor import DriftEvent, Monitor
from eat_lightning.deploy.drift.observation import Observation
from eat_lightning.deploy.drift.reference import Reference
from eat_lightning.errors import ConfigError
from eat_lightning.infer.backend import Source
from eat_lightning.runs.jsonl import reason
from eat_lightning.weights.untrusted import json_of, one_line

FILE = "drift.json"
MOST = 64 << 20  # bytes of it that are read; a source takes some 20,000
EVERY_S = 1.0  # between two exchanges with the file, where there is no event
LOCK_S = 0.1  # that an exchange waits for others; answers wait with it
DAY_S = 86400
STALE_S = 30 * DAY_S  # then what nobody goes on with is left out
AHEAD = 100_000  # answers that are kept for a file that cannot be had; then the oldest are left out
STEADY, DRIFTED, OFF = "steady", "drifted", "off"
Happened = tuple[Source, DriftEvent]


class StateFile:
    """File with the states of drift monitors, shared by all gateways that use its folder. A state
    is found by the name of its `Watch`. Raise ConfigError where the folder cannot be used."""

    def __init__(self, folder: str):
        self.path = Path(folder) / FILE
        self.lock = FileLock(Path(folder) / "drift.lock", mode=0o600, thread_local=False)
        try:
            with self.lock.acquire(timeout=10):
                pass
        except OSError as error:  # Timeout among them
            raise ConfigError(f"drift.state={folder}: cannot be used ({error})") from None

    def read(self) -> dict[str, Any]:
        if not self.path.exists():
            return {}
        try:
            content = json_of(self.path, MOST)
            if not isinstance(content, dict) or not all(
                isinstance(kept, dict) for kept in content.values()
            ):
                raise ValueError("not what a gateway keeps")
            return content
        except (ValueError, OSError) as error:
            tell(f"{self.path} cannot be read ({one_line(error)}): begun anew")
            return {}

    def write(self, content: dict[str, Any]) -> bool:
        """Beside and renamed; whether the disk took it."""
        beside = self.path.with_name(FILE + ".part")
        try:
            with open(os.open(beside, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w") as file:
                json.dump(content, file)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(self.path)
            return True
        except OSError as error:
            tell(f"{self.path} cannot be written ({error})")
            return False


@cache
def tell(line: str) -> None:
    """Once: the next exchange meets the same."""
    print(f"drift: {line}", file=sys.stderr, flush=True)


@dataclass
class Watch:
    """A source's monitor. began: when its state began, in seconds since 1970. ahead: what it saw
    since the exchange that `version` names. events: of those, which nobody was told yet."""

    source: Source
    monitor: Monitor
    identity: str
    began: float = field(default_factory=time.time)
    version: str = ""
    ahead: deque[Observation] = field(default_factory=lambda: deque(maxlen=AHEAD))
    events: list[DriftEvent] = field(default_factory=list)

    @property
    def state(self) -> str:
        return DRIFTED if self.monitor.full_depth else STEADY

    @property
    def name(self) -> str:
        """Equal for watches that may learn from one another: of one reference and its settings."""
        decides = json.dumps([self.identity, self.monitor.settings], sort_keys=True)
        return hashlib.sha256(decides.encode()).hexdigest()[:16]

    def see(self, seen: Observation) -> None:
        if event := self.monitor.observe(seen):
            self.began = time.time()
            self.events.append(event)

    def kept(self) -> dict[str, Any]:
        """Return the monitor's state, under a new version."""
        return {
            "source": self.source,
            "version": secrets.token_hex(8),
            "written": time.time(),
            "began": self.began,
            "monitor": self.monitor.kept(),
        }

    def restore(self, kept: Mapping[str, Any], file: StateFile) -> None:
        """Go on from there with what it saw itself, unless that is what it was at the last
        exchange, or is not this monitor's."""
        began = kept.get("began")
        if self.version and self.version == kept.get("version"):
            return
        try:
            if not isinstance(began, int | float) or not 0 <= began <= time.time() + DAY_S:
                raise ValueError("began is no time")
            self.monitor.restore(kept.get("monitor"))
        except ValueError as error:
            return self.begin_anew(reason(error), file)
        self.began, self.version = float(began), str(kept.get("version"))
        self.events.clear()
        for seen in self.ahead:
            self.see(seen)

    def begin_anew(self, why: str, file: StateFile) -> None:
        whose = "" if self.source is None else f" of source {self.source}"
        tell(f"what {file.path} keeps{whose} is left out ({why}): begun anew")


class Monitors:
    """settings: of each monitor. file: where their state is kept, if anywhere.

    What is kept of another reference, or with other settings, is left alone, since a gateway that
    goes on with it may run, as in a rolling update; a line says so, since its evidence was of
    something else.
    """

    def __init__(
        self, normal: Mapping[Source, Reference], settings: dict[str, Any], file: StateFile | None
    ):
        self.settings, self.file, self.changed, self.written = settings, file, False, 0.0
        self.watches: dict[Source, Watch] = {}
        self.take(normal)

    def take(self, normal: Mapping[Source, Reference]) -> None:
        """New references. One that was there before keeps what its monitor has learnt."""
        before = {watch.identity: watch for watch in self.watches.values()}
        kept = self.file.read() if self.file and normal else {}
        sources = {each.get("source") for each in kept.values()}
        self.watches = {}
        for source, reference in normal.items():
            fresh = Watch(source, Monitor(reference.seen, **self.settings), reference.identity)
            watch = self.watches[source] = before.get(reference.identity, fresh)
            if self.file is None or watch is not fresh:
                continue
            if watch.name in kept:
                watch.restore(kept[watch.name], self.file)
            elif source in sources:
                watch.begin_anew("of another reference, run or settings", self.file)

    def observe(self, source: Source, seen: Observation) -> list[Happened]:
        """Observe an answer, and return the events that are certain by now.

        Args:
            source: the example's.
        """
        watch = self.watches.get(source, self.watches.get(None))
        if watch is None:
            return []
        watch.see(seen)
        if self.file is not None:
            watch.ahead.append(seen)
        self.changed = True
        return self.keep(soon=True) if watch.events else []

    def keep(self, soon: bool = False) -> list[Happened]:
        """Exchange what was seen with the file, after an event at once, else every second. Return
        the events that hold in what all gateways saw together."""
        if self.file is not None:
            due = soon or time.monotonic() - self.written > EVERY_S
            if not due or not self.watches:
                return []
            try:
                with self.file.lock.acquire(timeout=LOCK_S):
                    self.written = time.monotonic()
                    self.exchange(self.file)
            except Timeout:
                return []
            except OSError as error:
                tell(f"{self.file.path} cannot be locked ({error})")
                return []
        happened = []
        for watch in self.watches.values():
            happened += [(watch.source, event) for event in watch.events]
            watch.events.clear()
        return happened

    def exchange(self, file: StateFile) -> None:
        """Exchange states with the file, with the lock held."""
        kept = file.read()
        for watch in self.watches.values():
            if watch.name in kept:
                watch.restore(kept[watch.name], file)
        if not self.changed:
            return
        now = time.time()
        others = {name: each for name, each in kept.items() if now - written(each) < STALE_S}
        ours = {watch.name: watch.kept() for watch in self.watches.values()}
        if not file.write(others | ours):
            return
        self.changed = False
        for watch in self.watches.values():
            watch.version = ours[watch.name]["version"]
            watch.ahead.clear()

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
        """Tell the page each one's state, since when, how many were seen and what moved."""
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


def written(kept: Mapping[str, Any]) -> float:
    at = kept.get("written")
    return float(at) if isinstance(at, int | float) else 0.0
