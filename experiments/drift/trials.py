"""Trials of the monitor on recorded streams: how late, how often for nothing, at what cost.

Each example's answer, early and at full depth, was recorded once; a trial replays an order of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from eat_lightning.drift.monitor import ALARM, RETURN, Event, Monitor
from eat_lightning.drift.observation import Observation, observations
from eat_lightning.infer.record import Recorded
from eat_lightning.model.contracts import Exit

CONTROL, SHIFT, RECOVERY = "control", "shift", "recovery"
REDRAWN, DEV = "calibration part redrawn", "dev against the calibration part"


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
    """A recorded stream under an exit rule with this tau."""

    name: str
    tau: float
    seen: list[Observation]
    label_B: np.ndarray
    early_B: np.ndarray
    full_B: np.ndarray
    depth_B: np.ndarray
    cost_early_B: np.ndarray
    cost_full_B: np.ndarray

    @classmethod
    def of(cls, name: str, recorded: Recorded, exit: Exit, tau: float = 0.9) -> Stream:
        early = recorded.under(exit)
        last = len(recorded.tokens_LB)
        return cls(
            name,
            tau,
            observations(early),
            recorded.labels,
            early.logits_BC.argmax(-1),
            recorded.guesses[last].argmax(-1),
            early.depth_B,
            early.token_layers_B,
            recorded.tokens_LB.mean(0) / recorded.tokens_LB[0],
        )

    def __len__(self) -> int:
        return len(self.seen)

    def some(self, rows: Iterable[int]) -> list[Observation]:
        return [self.seen[row] for row in rows]


def replay(monitor: Monitor, seen: Sequence[Observation]) -> tuple[list[Event], np.ndarray]:
    """The events, and which of the examples were answered at full depth."""
    events, full_B = [], np.zeros(len(seen), bool)
    for i, each in enumerate(seen):
        full_B[i] = monitor.full_depth
        if event := monitor.observe(each):
            events.append(event)
    return events, full_B


def shift_trial(
    task: str, reference: Stream, usual: Stream, shifted: Stream, seed: int, most: int = 2000
) -> Trial:
    """500 examples as usual, then the shifted ones, each at most once."""
    rng = np.random.default_rng(seed)
    before = rng.permutation(len(usual))[:500]
    rows = rng.permutation(len(shifted))[:most]
    monitor = Monitor(reference.seen, seed=int(rng.integers(1 << 32)))
    alarms = of_kind(ALARM, replay(monitor, usual.some(before))[0])
    start = monitor.at
    events, full_B = replay(monitor, shifted.some(rows))
    found = of_kind(ALARM, events)
    label_B, early_B, last_B = (x[rows] for x in (shifted.label_B, shifted.early_B, shifted.full_B))
    answer_B = np.where(full_B, last_B, early_B)
    known = bool((label_B >= 0).all())
    cost_B = shifted.cost_early_B[rows], shifted.cost_full_B[rows]
    return Trial(
        kind=SHIFT,
        task=task,
        stream=shifted.name,
        seed=seed,
        run_length=monitor.detector.run_length,
        num_before=len(before),
        alarms=len(alarms),
        tau=shifted.tau,
        num_shifted=len(rows),
        delay=found[0].at - start if found else None,
        feature=found[0].feature if found else None,
        full_share=float(full_B.mean()),
        accuracy_early=float((early_B == label_B).mean()) if known else None,
        accuracy_watched=float((answer_B == label_B).mean()) if known else None,
        accuracy_full=float((last_B == label_B).mean()) if known else None,
        changed_early=float((early_B != last_B).mean()),
        changed_watched=float((answer_B != last_B).mean()),
        depth_early=float(shifted.depth_B[rows].mean()),
        cost_early=float(cost_B[0].mean()),
        cost_watched=float(np.where(full_B, cost_B[1], cost_B[0]).mean()),
        cost_full=float(cost_B[1].mean()),
    )


def recovery_trial(
    task: str, reference: Stream, usual: Stream, shifted: Stream, seed: int
) -> Trial:
    """500 as usual, 1,000 shifted, then 3,000 as usual again (dev, drawn with replacement)."""
    rng = np.random.default_rng(seed)
    before = rng.permutation(len(usual))[:500]
    rows = rng.permutation(len(shifted))[:1000]
    monitor = Monitor(reference.seen, seed=int(rng.integers(1 << 32)))
    alarms = of_kind(ALARM, replay(monitor, usual.some(before))[0])
    found = of_kind(ALARM, replay(monitor, shifted.some(rows))[0])
    start, was_full = monitor.at, monitor.full_depth
    after = rng.integers(0, len(usual), 3000)
    events, full_B = replay(monitor, usual.some(after))
    returns = of_kind(RETURN, events)
    return Trial(
        kind=RECOVERY,
        task=task,
        stream=shifted.name,
        seed=seed,
        run_length=monitor.detector.run_length,
        num_before=len(before),
        alarms=len(alarms),
        num_shifted=len(rows),
        num_after=len(after),
        feature=found[0].feature if found else None,
        full_share=float(full_B.mean()),
        back=returns[0].at - start if was_full and returns else None,
        again=len(of_kind(ALARM, events)),
    )


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
        both = [*known, *seen]
        known = [both[i] for i in rng.integers(0, len(both), len(known))]
        seen = both
    monitor = Monitor(known, run_length=run_length, seed=int(rng.integers(1 << 32)))
    events, full_B = replay(monitor, [seen[i] for i in rng.integers(0, len(seen), num)])
    name = REDRAWN if redrawn else DEV
    alarms = len(of_kind(ALARM, events))
    share = float(full_B.mean())
    return Trial(CONTROL, task, name, seed, run_length, num, alarms, full_share=share)


def of_kind(kind: str, events: Iterable[Event]) -> list[Event]:
    return [event for event in events if event.event == kind]
