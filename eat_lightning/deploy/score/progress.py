"""How far it is: a line with rows, rate, mean depth and the time that is left."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from datetime import timedelta

from eat_lightning.deploy.score.inputs import Shard
from eat_lightning.deploy.score.work import ShardEvent, Tally


class Progress:
    """shards: all of them. num_before: how many earlier starts have done, which are not among those
    that are counted here. every_s: between two lines, where nobody looks on."""

    def __init__(self, shards: Sequence[Shard], missing: Sequence[Shard], every_s: float):
        self.num_before, self.missing = len(shards) - len(missing), missing
        self.every_s = 0.5 if sys.stderr.isatty() else every_s
        self.start = self.shown = time.monotonic()
        self.finished, self.num_done = Tally(), 0
        self.at_work: dict[int, Tally] = {}
        self.weight = sum(shard.weight for shard in missing)

    def hear(self, event: ShardEvent) -> None:
        self.at_work[event.shard] = event.tally
        if event.done or event.fault is not None:
            event.tally.read = self.missing[event.shard].weight
        if event.done:
            self.finished.add(self.at_work.pop(event.shard))
            self.num_done += 1
        if time.monotonic() - self.shown >= self.every_s:
            self.show()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.start

    @property
    def tally(self) -> Tally:
        whole = Tally()
        for tally in (self.finished, *self.at_work.values()):
            whole.add(tally)
        return whole

    def __str__(self) -> str:
        tally = self.tally
        to_read = self.weight - tally.read
        left_s = self.seconds * to_read / tally.read if tally.read else None
        left = "?" if left_s is None else timedelta(seconds=round(left_s))
        done, whole = self.num_before + self.num_done, self.num_before + len(self.missing)
        return (
            f"{tally.rows:,} rows, {tally.rows / self.seconds:,.0f}/s, "
            f"depth {tally.mean_depth:.2f}, {done} of {whole} shards, {left} left"
        )

    def show(self) -> None:
        self.shown = time.monotonic()
        self.say(str(self), "" if sys.stderr.isatty() else "\n")

    def say(self, text: str, end: str = "\n") -> None:
        """A line beside the progress, which on a terminal is taken away first."""
        clear = "\r\033[K" if sys.stderr.isatty() else ""
        print(f"{clear}{text}", end=end, file=sys.stderr, flush=True)

    def clear(self) -> None:
        self.say("", "")
