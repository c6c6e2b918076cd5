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

from eat_lightning.drift.monitor import EARLY, FULL, Event, Monitor
from eat_lightning.drift.reference import Reference
from eat_lightning.weights.untrusted import json_of, one_line

FILE = "drift.json"
MOST = 64 << 20  # bytes of it that are read; a source takes some 20,000
EVERY_S = 5.0  # between two writings, where there is no event
STEADY, DRIFTED, OFF = "steady", "drifted", "off"

Source = str | None


@dataclass
class Watch:
    """began: when its state began, in seconds since 1970."""

    monitor: Monitor
    identity: str
    began: float = field(default_factory=time.time)


class Drifting:
    """settings: of each monitor. path: where their state is kept (None: nowhere).

    What is kept of another reference, or with other settings, is left out with a line that says so:
    its evidence was of something else.
    """

    def __init__(
        self, normal: Mapping[Source, Reference], settings: dict[str, Any], path: Path | None = None
    ):
        self.settings, self.path, self.changed, self.written = settings, path, False, 0.0
        self.told = False  # that it cannot be written
        self.watches: dict[Source, Watch] = {}
        self.take(normal, kept_in(path) if normal else {})

    def take(self, normal: Mapping[Source, Reference], kept: Mapping[str, Any]) -> None:
        """New references. One that was there before keeps what its monitor has learnt."""
        before = {watch.identity: watch for watch in self.watches.values()}
        self.watches = {}
        for source, reference in normal.items():
            identity = reference.identity
            monitor = Monitor(reference.seen, **self.settings)
            watch = before.get(identity) or Watch(monitor, identity)
            self.watches[source] = watch
            if identity not in before and (found := kept.get(key_of(source))) is not None:
                self.restore(watch, found, source)

    def restore(self, watch: Watch, kept: Any, source: Source) -> None:
        try:
            if not isinstance(kept, dict) or kept.get("identity") != watch.identity:
                raise ValueError("of another reference or run")
            began = kept.get("began")
            if not isinstance(began, int | float) or not 0 <= began <= time.time() + 86400:
                raise ValueError("began is no time")
            watch.monitor.restore(kept["monitor"])
            watch.began = float(began)
        except (ValueError, KeyError, TypeError) as error:
            whose = "" if source is None else f" of source {source}"
            said = f"drift: what {self.path} keeps{whose} is left out ({one_line(error)})"
            print(f"{said}: begun anew", file=sys.stderr, flush=True)

    def observe(self, source: Source, seen: Any) -> Event | None:
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
        drifted = [watch.began for s, watch in self.watches.items() if s in self.deep]
        return (
            min(drifted) if drifted else max((w.began for w in self.watches.values()), default=None)
        )

    def sources(self) -> list[dict[str, Any]]:
        """For the page: each one's state, since when, how many were seen and what moved."""
        names = {EARLY: STEADY, FULL: DRIFTED}
        found = [(s, watch, watch.monitor.state()) for s, watch in self.watches.items()]
        return [
            {
                "source": source,
                "state": names[told["state"]],
                "began": watch.began,
                **{key: told[key] for key in ("seen", "alarms", "feature")},
            }
            for source, watch, told in found
        ]

    def keep(self, soon: bool = False) -> None:
        """Written beside and renamed: an alarm at once, what else was seen every few seconds."""
        due = soon or time.monotonic() - self.written > EVERY_S
        if self.path is None or not self.changed or not due:
            return
        self.changed, self.written = False, time.monotonic()
        content = {
            key_of(source): {
                "identity": watch.identity,
                "began": watch.began,
                "monitor": watch.monitor.kept(),
            }
            for source, watch in self.watches.items()
        }
        beside = self.path.with_name(self.path.name + ".part")
        try:
            with open(os.open(beside, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w") as file:
                json.dump(content, file)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(self.path)
        except OSError as error:
            if not self.told:
                print(
                    f"drift: {self.path} cannot be written ({error})", file=sys.stderr, flush=True
                )
            self.told = True


def key_of(source: Source) -> str:
    """Of a JSON object; no source is called so."""
    return "" if source is None else source


def kept_in(path: Path | None) -> dict[str, Any]:
    if path is None or not path.exists():
        return {}
    try:
        content = json_of(path, MOST)
        if not isinstance(content, dict):
            raise ValueError("not what a gateway keeps")
        return content
    except (ValueError, OSError) as error:
        said = f"drift: {path} cannot be read ({one_line(error)}): begun anew"
        print(said, file=sys.stderr, flush=True)
        return {}
