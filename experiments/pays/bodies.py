"""Models whose exits were judged, from kept rows: beside their full depth, one depth for all, the
best mix of two depths, and students of half the layers.

Shapes: B examples, S seeds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from eat_lightning.evaluation.gain import FIELDS, Judged, mean_gains
from eat_lightning.model.trace import Trace
from eat_lightning.record.record import Record
from eat_lightning.report.baselines import fixed_beside
from eat_lightning.report.difference import Difference, difference
from eat_lightning.report.intervals import Interval, mean_interval
from eat_lightning.report.study import KeptRow, Mark, Study
from eat_lightning.runs.row import STATIC_BASELINE, Row

TASKS = {"sst2": "SST-2", "qqp": "QQP", "mnli": "MNLI"}
STEPS = {  # of the tuned models, by task and layers
    **{("sst2", 12): 900, ("qqp", 12): 2400, ("mnli", 12): 2400},
    **{("qqp", 6): 3000, ("mnli", 6): 3000},
}
ASKED = (0.3, 0.4, 0.5, 0.6)


@dataclass(frozen=True)
class Gain:
    """Points over the neighbouring depths mixed to equal FLOPs, and over the best mix of any two
    depths."""

    fixed: Interval
    mix: Interval


@dataclass(frozen=True)
class Body:
    """A task and a number of layers, with its runs of several seeds."""

    study: Study
    task: str
    layers: int

    @property
    def name(self) -> str:
        return f"{TASKS[self.task]}, {self.layers} layers"

    @cached_property
    def rows(self) -> list[KeptRow]:
        """Rows of exits and of the same weights at fixed depths."""
        same = (self.task, self.layers)
        found = [m for m in self.study.measured if (m.row.task, m.row.num_layers) == same]
        return sorted((m for m in found if m.row.model == "eat_heads"), key=lambda m: m.row.seed)

    @property
    def seeds(self) -> list[int]:
        return sorted({m.row.seed for m in self.rows})

    def at(self, asked: float, seeds: Sequence[int] = ()) -> Mark:
        """Exits asked for a share of the FLOPs, of all seeds or of some."""
        return self.point([m for m in self.rows if m.row.budget == asked], seeds)

    def unchanged(self, share: float) -> Mark:
        """Exits asked for a share of unchanged answers."""
        return self.point([m for m in self.rows if m.row.agree == share])

    def full(self, seeds: Sequence[int] = ()) -> Mark:
        """The tuned models: every layer."""
        return self.point([m for m in self.rows if m.row.baseline == STATIC_BASELINE], seeds)

    def point(self, found: list[KeptRow], seeds: Sequence[int] = ()) -> Mark:
        return Mark([m for m in found if m.row.seed in (seeds or self.seeds)])

    def lost(self, point: Mark) -> Difference | None:
        """Points against full depth."""
        return difference(point, self.full(point.seeds))

    def same_answers(self, point: Mark) -> Interval:
        """Percent of answers that are full depth's, seeds averaged."""
        full = self.full(point.seeds)
        pairs = zip(point.members, full.members, strict=True)
        same_SB = np.stack([answers(one) == answers(other) for one, other in pairs])
        return mean_interval(same_SB.mean(0)).times(100)

    @cached_property
    def gains(self) -> dict[float, Gain]:
        """By the share asked for; seeds are averaged, and examples drawn in whole groups."""
        found = mean_gains([self.judged(seed) for seed in self.seeds])
        return {asked: gain_of(fields) for asked, fields in zip(ASKED, found, strict=True)}

    def judged(self, seed: int) -> Judged:
        exits = [self.at(asked, [seed]).members[0] for asked in ASKED]
        record = exits[0].record
        fixed = [at_fixed(m.row, record) for m in fixed_beside(self.study, exits[0])]
        about = record.labels, "accuracy", record.cluster_B, record.num_classes
        return Judged([*map(with_flops, exits)], fixed, *about)

    def students(self, seed: int) -> list[KeptRow]:
        """Static models of half the layers that the tuned model of this seed taught."""
        same = (self.task, self.layers, seed)
        found = [m for m in self.study.measured if is_student(m.row)]
        return [m for m in found if (m.row.task, 2 * m.row.num_layers, m.row.seed) == same]

    @property
    def best_students(self) -> Iterator[KeptRow]:
        """Of each seed with students the most accurate one on dev."""
        for seed in self.seeds:
            if found := self.students(seed):
                yield max(found, key=lambda m: m.row.accuracy or 0.0)

    @property
    def steps(self) -> int:
        """Steps of the tuned models, which teach the students."""
        return STEPS[self.task, self.layers]

    def learned_as_long(self, student: KeptRow) -> bool:
        return student.row.steps == self.steps

    def over(self, student: KeptRow, asked: float) -> Difference | None:
        """Points of exits above a student of the same seed."""
        return difference(self.at(asked, [student.row.seed]), Mark([student]))


def bodies_of(study: Study) -> list[Body]:
    """Twelve layers first."""
    found = [Body(study, *about) for about in STEPS]
    return sorted((body for body in found if body.rows), key=lambda body: -body.layers)


def is_student(row: Row) -> bool:
    return row.exit.kind == "never" and not row.baseline


def answers(measured: KeptRow) -> np.ndarray:
    return measured.known.logits_BC.argmax(1)


def with_flops(measured: KeptRow) -> Trace:
    """What happened to each example, with its FLOPs, spread as its tokens in the layers that it
    ran."""
    tokens_B = measured.known.tokens_LB.sum(0)
    flops_B = measured.row.flops * tokens_B / tokens_B.mean()
    return replace(measured.known, flops_B=flops_B)


def at_fixed(fixed: Row, record: Record) -> Trace:
    """The same where all leave at one layer, which may be the embedding: FLOPs are spread as the
    lengths."""
    depth, lengths_B = int(fixed.depth), record.lengths
    flops_B = fixed.flops * lengths_B / lengths_B.mean()
    return Trace(record.guesses[depth], np.full(len(lengths_B), depth), flops_B=flops_B)


def gain_of(fields: dict[str, float]) -> Gain:
    ends = [100 * fields[name] for name in FIELDS]
    return Gain(Interval(*ends[:3]), Interval(*ends[3:]))
