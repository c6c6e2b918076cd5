"""How far two settings are apart: accuracy on the same examples, time in the same session.

Shapes: B examples, S seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from eat_lightning.measure.gain import METRICS, Answers, Judged, mean_gains
from eat_lightning.report.statistics import (
    Interval,
    mcnemar,
    mean_interval,
    over_seeds,
    paired_difference,
    wilson,
)
from eat_lightning.report.study import NO_EXAMPLES, Measured, Point, Study
from eat_lightning.runs.row import FIXED, THEIRS, Row

Cost = Callable[[Row], Interval | None]  # one of those below: single_ms, batch_ms, gflops, ...
NO_GAIN = (  # such as where a fit left other tokens than the fixed depths beside it have
    "the gain over seeds does not follow from the examples: measure again, with fit_reduction=false"
)
ENDS = ("", "_low", "_high")  # of the names of a row's fields
CLOSE = 1e-4  # of the rows' own gains, which are of the same answers
SAME_TIMING = ("dtype", "device", "threads", "machine")


@dataclass(frozen=True)
class Difference:
    """How many points (percent) one setting is more accurate than another. `interval`: 95 %,
    paired, over examples; None where examples were not kept (`lacking` says what is not here).
    `p`: exact McNemar's, of each seed that both have."""

    points: float
    interval: Interval | None
    p: tuple[float, ...] = ()
    lacking: str = NO_EXAMPLES


@dataclass
class Entry:
    """A setting, and what it is compared with; None where there is none, or it is the same."""

    study: Study
    point: Point

    @property
    def model(self) -> str:
        return self.study.name_of(self.point.row)

    @property
    def name(self) -> str:
        return f"{self.model} {self.point.setting}"

    @cached_property
    def own(self) -> Point | None:
        """The same weights with everything off."""
        return self._other(self.study.static_of(self.point))

    @cached_property
    def trained(self) -> Point | None:
        """The static model of the same body and task that was trained for itself, or the one whose
        weights the point's training began with. Of several, such as with and without a teacher,
        the most accurate."""
        found = trained_statics(self.study, self.point)
        return self._other(best([p for p in found if of_same_body(p.row, self.point.row)]))

    @cached_property
    def smaller(self) -> list[Point]:
        """Static models of other bodies, or of fewer layers of this one, with fewer FLOPs than own
        static, trained for themselves: what has to be beaten."""
        point = self.point
        whole = (point.mean("flops") or 0.0) / (point.mean("flops_ratio") or 1.0)
        found = trained_statics(self.study, point)
        fewer = [p for p in found if (p.mean("flops") or 0.0) < whole]
        return [p for p in fewer if not of_same_body(p.row, point.row)]

    @property
    def student(self) -> Point | None:
        """The most accurate of `smaller`."""
        return best(self.smaller)

    @cached_property
    def padded(self) -> Point | None:
        """The same weights in Hugging Face's padded model, seed by seed."""
        found = self.study.twins(
            self.point, lambda r, mine: r.baseline == THEIRS and same_timing(r, mine)
        )
        return self._other(Point([twins[0] for twins in found]) if all(found) else None)

    @cached_property
    def to_own(self) -> Difference | None:
        return difference(self.point, self.own)

    @cached_property
    def to_trained(self) -> Difference | None:
        return difference(self.point, self.trained)

    @cached_property
    def to_student(self) -> Difference | None:
        return difference(self.point, self.student)

    @property
    def gain(self) -> Difference | None:
        """Over fixed depth at equal FLOPs, in points: a mix of the two neighbouring depths."""
        if found := in_points(self.gains.get("adaptivity_gain")):
            return found
        values = self.point.values("adaptivity_gain")
        if len(values) != len(self.point.members):
            return None
        lacking = lacking_of(self.point) or NO_GAIN
        return Difference(100 * float(np.mean(values)), None, lacking=lacking)

    @property
    def mix_gain(self) -> Difference | None:
        """Over the best random mix of any two depths for that cost at most."""
        return in_points(self.gains.get("mix_gain"))

    @cached_property
    def gains(self) -> dict[str, Interval]:
        return gains_of(self.study, self.point) if self.point.values("adaptivity_gain") else {}

    @property
    def adaptive(self) -> bool:
        return not self.point.row.baseline and not self.point.is_static

    @property
    def fixed(self) -> bool:
        return self.point.row.baseline == FIXED

    def _other(self, found: Point | None) -> Point | None:
        same = found is not None and found.members == self.point.members
        return None if same else found


def in_points(share: Interval | None) -> Difference | None:
    return share and Difference(100 * share.value, share.times(100))


def gains_of(study: Study, point: Point) -> dict[str, Interval]:
    """The gains as fractions, by the fields of a row: one seed's as its row has them, the means of
    several with the intervals of `measure.gain.mean_gains`. None of what rows and records do not
    say; the records say `mix_gain` of older rows too."""
    rows = [m.row for m in point.members]
    said = gains_in(vars(rows[0])) if len(rows) == 1 else {}
    if len(said) == 2:
        return said
    values = point.values("adaptivity_gain")
    judged = [each for m in point.members if (each := judged_of(study, m)) is not None]
    several_sets = len({len(each.labels_B) for each in judged}) != 1
    if len(values) == len(judged) == len(rows) and not several_sets:
        (fields,) = mean_gains(judged)
        # Kept records have no labels, so that only accuracy can be said anew of them.
        if abs(fields["adaptivity_gain"] - np.mean(values)) < CLOSE:
            return gains_in(fields) | said
    return said


def gains_in(fields: Mapping[str, Any]) -> dict[str, Interval]:
    """Those of a row's gains that it has, with their intervals."""
    ends = {
        name: [fields[f"{name}{end}"] for end in ENDS] for name in ("adaptivity_gain", "mix_gain")
    }
    return {name: Interval(*three) for name, three in ends.items() if None not in three}


def judged_of(study: Study, measured: Measured) -> Judged | None:
    """A row's rule beside the fixed depths of the same recorded pass."""
    if measured.outcome is None or measured.row.metric not in METRICS:
        return None
    fixed = [answers_of(m) for m in study.fixed_beside(measured) if m.outcome is not None]
    if not fixed:
        return None
    recorded = measured.outcome.recorded
    about = recorded.labels, measured.row.metric, recorded.group_B, recorded.num_classes
    return Judged([answers_of(measured)], fixed, *about)


def answers_of(measured: Measured) -> Answers:
    """A row's counted mean of FLOPs is spread over the examples as their tokens in the layers that
    they ran, since kept rows do not hold the widths to count each one's. One seed's interval is
    then that of exactly counted FLOPs to 0.001 points (SST-2, six layers)."""
    outcome = measured.known
    tokens_B = outcome.tokens_LB.sum(0)
    flops_B = measured.row.flops * tokens_B / tokens_B.mean()
    return Answers(outcome.logits_BC.argmax(1), flops_B)


def accuracy_interval(point: Point) -> Interval:
    """Accuracy as a share, the mean over seeds, with its 95 % interval over examples: bootstrap of
    the examples' means over seeds, or Wilson's where examples were not kept."""
    correct_SB, accuracy = point.correct_SB(), point.mean("accuracy")
    if correct_SB is not None:
        return mean_interval(correct_SB.mean(0))
    if accuracy is None:
        raise ValueError(f"{point.row.model}: {point.row.task} is not judged by accuracy")
    return wilson(accuracy * point.row.num_examples, point.row.num_examples)


def difference(point: Point, other: Point | None) -> Difference | None:
    """`point` - `other`; None where there is no other, or accuracy does not judge the task."""
    mine, theirs = point.mean("accuracy"), other and other.mean("accuracy")
    if other is None or mine is None or theirs is None:
        return None
    a_SB, b_SB = point.correct_SB(), other.correct_SB()
    if a_SB is None or b_SB is None or not same_examples(point, other):
        lacking = lacking_of(point, other) or NO_EXAMPLES
        return Difference(100 * (mine - theirs), None, lacking=lacking)
    interval = paired_difference(a_SB, b_SB).times(100)
    seeds = [seed for seed in point.seeds if seed in other.seeds]
    pairs = [(a_SB[point.seeds.index(s)], b_SB[other.seeds.index(s)]) for s in seeds]
    return Difference(interval.value, interval, tuple(mcnemar(a_B, b_B) for a_B, b_B in pairs))


def lacking_of(*points: Point) -> str:
    """Why answers are not paired: what the first row without an outcome lacks, or nothing."""
    lacking = (m.lacking for point in points for m in point.members)
    return next(filter(None, lacking), "")


def same_examples(point: Point, other: Point) -> bool:
    """The same labels in the same order, as far as can be told."""
    outcomes = [m.outcome for m in (*point.members, *other.members)]
    labels = [outcome.recorded.labels for outcome in outcomes if outcome is not None]
    return all(np.array_equal(labels[0], found) for found in labels[1:])


def best(points: Sequence[Point]) -> Point | None:
    """The most accurate."""
    return max(points, key=lambda p: p.mean("score") or 0.0, default=None)


def of_same_body(static: Row, row: Row) -> bool:
    return row.encoder in (static.encoder, static.run) and static.num_layers == row.num_layers


def trained_statics(study: Study, point: Point) -> list[Point]:
    """All of the task's, on the same examples, of whatever body."""
    row = point.row
    same = ["task", "split", "engine", *SAME_TIMING] + ["form"] * (row.baseline != THEIRS)
    points = study.points(baseline="", **{name: getattr(row, name) for name in same})
    static = [p for p in points if p.is_static and p.row.num_examples == row.num_examples]
    return [p for p in static if not study.has_early_heads(p)]


def same_timing(one: Row, other: Row) -> bool:
    return all(getattr(one, name) == getattr(other, name) for name in SAME_TIMING)


def faster(point: Point, other: Point, time: Cost) -> Interval | None:
    """How many times as fast `point` is as `other`, seed by seed, where both took turns in one
    session; None where they did not. The interval's ends divide the extremes of the repeats."""
    ratios = []
    for mine in point.members:
        twin = next((m for m in other.members if m.row.seed == mine.row.seed), None)
        if twin is None or not mine.row.session == twin.row.session != "":
            return None
        a, b = time(mine.row), time(twin.row)
        if a is None or b is None:
            return None
        ratios.append(b.over(a))
    return over_seeds(ratios)


def single_ms(row: Row) -> Interval | None:
    """Mean milliseconds at batch 1; the ends are the repeats'."""
    if row.latency_ms is None:
        return None
    low, high = row.latency_low_ms, row.latency_high_ms
    return Interval(row.latency_ms, low or row.latency_ms, high or row.latency_ms)


def batch_ms(row: Row) -> Interval | None:
    """Milliseconds for each example of batches as they come."""
    return per_example(row.throughput, row.throughput_low, row.throughput_high)


def sorted_ms(row: Row) -> Interval | None:
    """The same, sorted by length."""
    return per_example(row.throughput_sorted, row.throughput_sorted_low, row.throughput_sorted_high)


def per_example(rate: float | None, low: float | None, high: float | None) -> Interval | None:
    return Interval(rate, low or rate, high or rate).inverse.times(1000) if rate else None


def gflops(row: Row) -> Interval | None:
    """Counted billions of operations of an example; Hugging Face's model has no count of its own.
    They have no spread over repeats."""
    return None if row.baseline == THEIRS else Interval.exact(row.flops / 1e9)


def cost_of(point: Point, cost: Cost) -> Interval | None:
    """Over seeds: the mean, and the extremes of the repeats."""
    found = [interval for m in point.members if (interval := cost(m.row)) is not None]
    return over_seeds(found) if len(found) == len(point.members) else None


def speed_up(point: Point, prefix: str = "") -> Interval | None:
    """Against own static, as the rows have it; prefix "batch_": at the throughput's batch."""
    values, lows, highs = (point.values(f"{prefix}speed_up{end}") for end in ENDS)
    if not len(values) == len(lows) == len(highs) == len(point.members):
        return None
    return over_seeds([Interval(*ends) for ends in zip(values, lows, highs, strict=True)])
