"""Work on a shard: rows in, answers out, and events that report progress."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from eat_lightning.deploy.score.inputs import Shard
from eat_lightning.deploy.score.output import Output, OutputFails
from eat_lightning.deploy.score.rows import (
    Reading,
    Reject,
    Unreadable,
    Window,
    kept_schema,
    windows,
)
from eat_lightning.deploy.score.scorer import Answers, Scorer
from eat_lightning.errors import one_line
from eat_lightning.text_io import refusal

MOST_TRIES = 2  # of a shard: what kills two workers is what kills


@dataclass
class Tally:
    """Tally of answered rows: their number, depths, exit reasons and retention.

    Args:
        depths: number of rows that left at each.
        reasons: number of rows that left for each.
        retention: sum over rows.
        read: part of a shard's weight that is done.
    """

    rows: int = 0
    rejects: int = 0
    depths: Counter[int] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    retention: float = 0.0
    read: float = 0.0

    def add(self, other: Tally) -> None:
        self.rows += other.rows
        self.rejects += other.rejects
        self.depths += other.depths
        self.reasons += other.reasons
        self.retention += other.retention

    @property
    def mean_depth(self) -> float:
        return sum(depth * n for depth, n in self.depths.items()) / max(1, self.rows)


@dataclass(frozen=True)
class ShardEvent:
    """shard: its place in the list of shards. tally: of all its rows so far. fault: why it is given
    up. died: with its worker. fatal: and with it all other shards. ends: nothing of it follows."""

    shard: int
    tally: Tally
    done: bool = False
    fault: str | None = None
    died: bool = False
    fatal: bool = False

    @property
    def ends(self) -> bool:
        return self.done or self.fault is not None


@dataclass(frozen=True)
class Job:
    """Job that all shards share: the scorer, the reading of inputs and the output."""

    scorer: Scorer
    reading: Reading
    output: Output

    def events(self, place: int, shard: Shard) -> Iterator[ShardEvent]:
        """Score a shard; an event for each window, and one when it is done or given up."""
        tally = Tally()
        try:
            for _ in self.scored(shard, tally):
                yield ShardEvent(place, tally)
        except (OutputFails, Unreadable) as error:
            yield ShardEvent(place, tally, fault=str(error), fatal=isinstance(error, OutputFails))
        except Exception as error:  # the model's, of whatever kind: other shards may be sound
            why = one_line(error, 160) or type(error).__name__
            yield ShardEvent(place, tally, fault=f"{shard.name}: {why}")
        else:
            yield ShardEvent(place, tally, done=True)

    def scored(self, shard: Shard, tally: Tally) -> Iterator[None]:
        kept = kept_schema(shard.input, self.reading)
        schema = self.output.schema(kept, shard.input.path)
        with self.output.writing(shard, schema) as file:
            for window in windows(shard, self.reading):
                answers = self.scorer(window.texts, window.about) if window.texts else []
                window, answers = without_failed(window, answers)
                file.add(window.kept, answers)
                file.reject(window.rejects)
                note(tally, window, answers)
                tally.read = shard.weight * min(1.0, window.read / max(1, window.of))
                yield


def without_failed(window: Window, answers: Answers) -> tuple[Window, Answers]:
    """The rows that have an answer; the others are rejected."""
    faults = {i: fault for i, answer in enumerate(answers) if (fault := fault_of(answer))}
    if not faults:
        return window, answers
    window.rejects += [Reject(window.places[i], faults[i], window.texts[i]) for i in faults]
    window.rejects.sort(key=lambda reject: reject.place)
    sound = [i for i in range(len(answers)) if i not in faults]
    window.kept = window.kept.take(np.array(sound, int))
    return window, [answers[i] for i in sound]


def fault_of(answer: dict) -> str:
    """Tell why it is none; "" where it is one."""
    if why := refusal(answer):
        return why
    value = answer.get("confidence", answer.get("score", math.nan))
    return "" if math.isfinite(value) else f"the model gave no finite answer ({value})"


def note(tally: Tally, window: Window, answers: Answers) -> None:
    tally.rows += len(answers)
    tally.rejects += len(window.rejects)
    tally.depths.update(answer["depth"] for answer in answers)
    tally.reasons.update(answer["exit_reason"] for answer in answers)
    tally.retention += sum(answer["retention"] for answer in answers)
