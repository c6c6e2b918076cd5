"""What is done of the missing shards: rows, depths and bytes, of finished shards and of others."""

from __future__ import annotations

from collections.abc import Sequence

from eat_lightning.deploy.score.inputs import Shard
from eat_lightning.deploy.score.work import ShardEvent, Tally


class Tallies:
    """Tallies of finished shards and of those at work; what is given up counts as read."""

    def __init__(self, missing: Sequence[Shard]):
        self.missing, self.finished = missing, Tally()
        self.at_work: dict[int, Tally] = {}

    def take(self, event: ShardEvent) -> float:
        """Return how many bytes more are read by now."""
        before = self.at_work.get(event.shard, Tally()).read
        self.at_work[event.shard] = event.tally
        if event.done or event.fault is not None:
            event.tally.read = self.missing[event.shard].weight
        if event.done:
            self.finished.add(self.at_work.pop(event.shard))
        return event.tally.read - before

    @property
    def whole(self) -> Tally:
        found = Tally()
        for tally in (self.finished, *self.at_work.values()):
            found.add(tally)
        return found
