"""The gateway's drift monitors, one for each source that has exits of its own, and what is kept of
them over a restart."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from eat_lightning.deploy.drift.monitor import DriftEvent, Monitor
from eat_lightning.deploy.drift.observation import Observation
from eat_lightning.deploy.drift.reference import Reference
from eat_lightning.errors import ConfigError, one_line
from eat_lightning.infer.backend import Source
from eat_lightning.runs.jsonl import reason
from eat_lightning.weights.untrusted import json_of

FILE = "drift.json"
MOST = 64 << 20  # bytes of it that are read; a source takes some 20,000
EVERY_S = 1.0  # between two writes, where there is no event
DAY_S = 86400
STALE_S = 30 * DAY_S  # then what nobody goes on with is left out
STEADY, DRIFTED, OFF = "steady", "drifted", "off"
Happened = tuple[Source, DriftEvent]


class StateFile:
    """File with the states of drift monitors. A state is found by the name of its `Watch`; states
    of other references stay in it. Raise ConfigError where the folder cannot be used."""

    def __init__(self, folder: str):
        self.path = Path(folder) / FILE
        if not os.access(folder, os.W_OK):
            raise ConfigError(f"drift.state={folder}: cannot be written")

    def read(self) -> dict[str, Any]:
        """Return the states that are not stale; none where the file is damaged, with a line."""
        if not self.path.exists():
            return {}
        try:
            content = json_of(self.path, MOST)
            if not isinstance(content, dict) or not all(
                isinstance(kept, dict) for kept in content.values()
            ):
                raise ValueError("not what a gateway keeps")
            now = time.time()
            return {name: kept for name, kept in content.items() if now - written(kept) < STALE_S}
        except (ValueError, OSError) as error:
            tell(f"{self.path} cannot be read ({one_line(error)}): begun anew")
            return {}

    def write(self, content: dict[str, Any]) -> None:
        """Write a file beside it and rename that; a line where the disk does not take it."""
        fresh = self.path.with_name(f"{FILE}.{os.getpid()}.part")
        try:
            with open(os.open(fresh, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w") as file:
                json.dump(content, file)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self.path)
        except OSError as error:
            tell(f"{self.path} cannot be written ({error})")


@cache
def tell(line: str) -> None:
    """Once: the next write meets the same."""
    print(f"drift: {line}", file=sys.stderr, flush=True)


@dataclass
class Watch:
    """A source's monitor. began: when its state began, in seconds since 1970."""

    source: Source
    monitor: Monitor
    identity: str
    began: float = field(default_factory=time.time)

    @property
    def state(self) -> str:
        return DRIFTED if self.monitor.full_depth else STEADY

    @property
    def name(self) -> str:
        """Equal for watches that may learn from one another: of one reference and its settings."""
        decides = json.dumps([self.identity, self.monitor.settings], sort_keys=True)
        return hashlib.sha256(decides.encode()).hexdigest()[:16]

    def kept(self) -> dict[str, Any]:
        return {
            "source": self.source,
            "written": time.time(),
            "began": self.began,
            "monitor": self.monitor.kept(),
        }

    def restore(self, kept: Mapping[str, Any], file: StateFile) -> None:
        """Go on from what was kept, or begin anew with a line that says why."""
        began = kept.get("began")
        try:
            if not isinstance(began, int | float) or not 0 <= began <= time.time() + DAY_S:
                raise ValueError("began is no time")
            self.monitor.restore(kept.get("monitor"))
        except ValueError as error:
            return self.begin_anew(reason(error), file)
        self.began = float(began)

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
        self.others = self.file.read() if self.file and normal else {}
        sources = {each.get("source") for each in self.others.values()}
        self.watches = {}
        for source, reference in normal.items():
            fresh = Watch(source, Monitor(reference.seen, **self.settings), reference.identity)
            watch = self.watches[source] = before.get(reference.identity, fresh)
            if self.file is None or watch is not fresh:
                continue
            if watch.name in self.others:
                watch.restore(self.others[watch.name], self.file)
            elif source in sources:
                watch.begin_anew("of another reference, run or settings", self.file)

    def observe(self, source: Source, seen: Observation) -> list[Happened]:
        """Observe an answer, and return the event that it makes certain.

        Args:
            source: the example's.
        """
        watch = self.watches.get(source, self.watches.get(None))
        if watch is None:
            return []
        self.changed = True
        event = watch.monitor.observe(seen)
        if event is None:
            return []
        watch.began = time.time()
        self.keep(soon=True)
        return [(watch.source, event)]

    def keep(self, soon: bool = False) -> None:
        """Write what was learnt since the last time: after an event at once, else every second."""
        due = soon or time.monotonic() - self.written > EVERY_S
        if self.file is None or not self.changed or not due:
            return
        self.file.write(self.others | {w.name: w.kept() for w in self.watches.values()})
        self.changed, self.written = False, time.monotonic()

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
