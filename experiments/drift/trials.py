"""Trials of the monitor on recorded streams: how late, how often for nothing, at what cost.

Each example's answer, early and at full depth, was recorded once; a trial replays an order of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from pandas import DataFrame

from eat_lightning.deploy.drift.monitor import ALARM, RETURN, DriftEvent, Monitor
from eat_lightning.deploy.drift.observation import Observation, observations
from eat_lightning.model.contracts import ExitRule
from eat_lightning.record.record import Record

CONTROL, SHIFT, RECOVERY = "control", "shift", "recovery"
REDRAWN, DEV = "calibration part redrawn", "dev against the calibration part"
BEFORE = 500  # examples as usual, before a shift


@dataclass(frozen=True)
class Trial:
    """kind: `control` (nothing shifts), `shift` (it does, and stays), `recovery` (it does, and
    goes). num_before, num_shifted, num_after: examples. alarms: before the shift. delay: examples
    of the shift until its alarm, None where there is none. full_share: of the examples at full
    depth; after the shift in `recovery`. changed: answers that are not the last layer's. Accuracies
    are None where no label is known. cost: tokens summed over executed layers / tokens in all
    layers. back: examples after the shift until the return; again: alarms in that time and on."""

    kind: str
    task: str
    stream: str
    seed: int
    run_length: float
    num_before: int
    alarms: int
    tau: float = 0.9
    num_shifted: int = 0
    delay: int | None = None
    feature: str | None = None
    full_share: float | None = None
    accuracy_early: float | None = None
    accuracy_watched: float | None = None
    accuracy_full: float | None = None
    changed_early: float | None = None
    changed_watched: float | None = None
    depth_early: float | None = None
    cost_early: float | None = None
    cost_watched: float | None = None
    cost_full: float | None = None
    num_after: int = 0
    back: int | None = None
    again: int | None = None


@dataclass
class Stream:
    """A recorded stream under an exit rule with this tau: what a monitor sees of each example, and
    a frame of its label, its answers, its depth and its cost, early and full."""

    name: str
    tau: float
    seen: list[Observation]
    examples: DataFrame

    @classmethod
    def of(cls, name: str, recorded: Record, exit: ExitRule, tau: float = 0.9) -> Stream:
        early = recorded.replay(exit)
        columns = {
            "label": recorded.labels,
            "early": early.logits_BC.argmax(-1),
            "full": recorded.guesses[len(recorded.tokens_LB)].argmax(-1),
            "depth": early.depth_B,
            "cost_early": recorded.token_layers_B(early),
            "cost_full": recorded.tokens_LB.mean(0) / recorded.tokens_LB[0],
        }
        return cls(name, tau, observations(early), DataFrame(columns))

    def __len__(self) -> int:
        return len(self.seen)

    def some(self, rows: Iterable[int]) -> list[Observation]:
        return [self.seen[row] for row in rows]


def replay(monitor: Monitor, seen: Sequence[Observation]) -> tuple[list[DriftEvent], np.ndarray]:
    """The events, and which of the examples were answered at full depth."""
    events, full_B = [], np.zeros(len(seen), bool)
    for i, each in enumerate(seen):
        full_B[i] = monitor.full_depth
        if event := monitor.observe(each):
            events.append(event)
    return events, full_B


def of_kind(kind: str, events: Iterable[DriftEvent]) -> list[DriftEvent]:
    return [event for event in events if event.event == kind]


class Episode:
    """Examples as usual, then shifted ones, each at most once, in an order by `seed`. `alarm`: the
    first in the shift."""

    def __init__(self, reference: Stream, usual: Stream, shifted: Stream, seed: int, most: int):
        self.rng = np.random.default_rng(seed)
        before = self.rng.permutation(len(usual))[:BEFORE]
        self.rows = self.rng.permutation(len(shifted))[:most]
        self.monitor = Monitor(reference.seen, seed=int(self.rng.integers(1 << 32)))
        self.alarms = len(of_kind(ALARM, replay(self.monitor, usual.some(before))[0]))
        self.start, self.num_before = self.monitor.at, len(before)
        events, self.full_B = replay(self.monitor, shifted.some(self.rows))
        self.alarm = next(iter(of_kind(ALARM, events)), None)

    def trial(self, kind: str, task: str, shifted: Stream, seed: int, **more: object) -> Trial:
        length = self.monitor.detector.run_length
        about = kind, task, shifted.name, seed, length, self.num_before, self.alarms
        feature = self.alarm.feature if self.alarm else None
        return Trial(*about, num_shifted=len(self.rows), feature=feature, **more)  # type: ignore[arg-type]


def shift_trial(
    task: str, reference: Stream, usual: Stream, shifted: Stream, seed: int, most: int = 2000
) -> Trial:
    """500 examples as usual, then the shifted ones."""
    episode = Episode(reference, usual, shifted, seed, most)
    e, full_B = shifted.examples.iloc[episode.rows], episode.full_B
    watched_B = np.where(full_B, e["full"], e["early"])
    answers = {"early": e["early"], "watched": watched_B, "full": e["full"]}
    found = {f"changed_{how}": answers[how] != e["full"] for how in ("early", "watched")}
    if (e["label"] >= 0).all():
        found |= {f"accuracy_{how}": answer_B == e["label"] for how, answer_B in answers.items()}
    found |= {"cost_early": e["cost_early"], "cost_full": e["cost_full"]}
    found["cost_watched"] = np.where(full_B, e["cost_full"], e["cost_early"])
    found |= {"depth_early": e["depth"], "full_share": full_B}
    means = {name: float(values_B.mean()) for name, values_B in found.items()}
    delay = episode.alarm.at - episode.start if episode.alarm else None
    return episode.trial(SHIFT, task, shifted, seed, tau=shifted.tau, delay=delay, **means)


def recovery_trial(
    task: str, reference: Stream, usual: Stream, shifted: Stream, seed: int
) -> Trial:
    """500 as usual, 1,000 shifted, then 3,000 as usual again (dev, drawn with replacement)."""
    episode = Episode(reference, usual, shifted, seed, 1000)
    monitor, start, was_full = episode.monitor, episode.monitor.at, episode.monitor.full_depth
    after = episode.rng.integers(0, len(usual), 3000)
    events, full_B = replay(monitor, usual.some(after))
    returns = of_kind(RETURN, events)
    found = {"num_after": len(after), "full_share": float(full_B.mean())}
    found["back"] = returns[0].at - start if was_full and returns else None
    return episode.trial(RECOVERY, task, shifted, seed, again=len(of_kind(ALARM, events)), **found)


def control_trial(
    task: str,
    reference: Stream,
    usual: Stream,
    seed: int,
    num: int,
    run_length: float = 100_000,
    redrawn: bool = False,
) -> Trial:
    """An unshifted stream, drawn with replacement. redrawn: the calibration part too, both from the
    two together, so that the promise's condition holds to the letter."""
    rng = np.random.default_rng(seed)
    known, seen = reference.seen, usual.seen
    if redrawn:
        seen = [*known, *seen]
        known = [seen[i] for i in rng.integers(0, len(seen), len(known))]
    monitor = Monitor(known, run_length=run_length, seed=int(rng.integers(1 << 32)))
    events, full_B = replay(monitor, [seen[i] for i in rng.integers(0, len(seen), num)])
    alarms, name = len(of_kind(ALARM, events)), REDRAWN if redrawn else DEV
    about = CONTROL, task, name, seed, run_length, num, alarms
    return Trial(*about, full_share=float(full_B.mean()))
