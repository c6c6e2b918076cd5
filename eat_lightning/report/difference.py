"""Differences in accuracy between two settings, on the same examples.

Shapes: B examples, S seeds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from eat_lightning.report.intervals import (
    Interval,
    mcnemar,
    mean_interval,
    paired_difference,
    wilson,
)
from eat_lightning.report.study import NO_EXAMPLES, Mark


@dataclass(frozen=True)
class Difference:
    """Difference in accuracy between two settings, in percentage points.

    Args:
        interval: 95 %, paired, over examples; None without stored examples (see `lacking`).
        p: exact McNemar p-value for each seed that both have.
        seeds: the number of each setting's seeds, where these differ.
    """

    points: float
    interval: Interval | None
    p: tuple[float, ...] = ()
    lacking: str = NO_EXAMPLES
    seeds: str = ""


def accuracy_interval(point: Mark) -> Interval:
    """Mean accuracy over seeds, as a share, with its 95 % interval over examples: bootstrap over
    the examples' means, or Wilson's without stored examples.
    """
    correct_SB, accuracy = point.correct_SB(), point.mean("accuracy")
    if correct_SB is not None:
        return mean_interval(correct_SB.mean(0))
    if accuracy is None:
        raise ValueError(f"{point.row.model}: {point.row.task} is not judged by accuracy")
    return wilson(accuracy * point.row.num_examples, point.row.num_examples)


def difference(point: Mark, other: Mark | None) -> Difference | None:
    """`point` - `other`; None without another setting, or if accuracy is not a metric
    of the task.
    """
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
    p = tuple(mcnemar(a_B, b_B) for a_B, b_B in pairs)
    counts = len(point.seeds), len(other.seeds)
    alike = "" if counts[0] == counts[1] else f"of {counts[0]} seeds minus {counts[1]}"
    return Difference(interval.value, interval, p, seeds=alike)


def lacking_of(*points: Mark) -> str:
    """Explain why answers cannot be paired: what the first row without an outcome lacks, or ""."""
    lacking = (m.lacking for point in points for m in point.members)
    return next(filter(None, lacking), "")


def same_examples(point: Mark, other: Mark) -> bool:
    """True if labels are known to be equal and in the same order."""
    members = [*point.members, *other.members]
    labels = [m.record.labels for m in members if m.outcome is not None]
    return all(np.array_equal(labels[0], found) for found in labels[1:])
