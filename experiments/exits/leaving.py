"""Who leaves where under an exit rule, and whether the layers they skip would have helped.

Shapes: B examples, S seeds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from eat_lightning.report.compare import Difference
from eat_lightning.report.passes import with_examples
from eat_lightning.report.statistics import (
    Interval,
    mcnemar,
    mean_interval,
    paired_difference,
    wilson,
)
from eat_lightning.report.study import Point

NUM_BINS = 8  # of lengths, of equal numbers of examples


@dataclass(frozen=True)
class Leaving:
    """A rule's examples over its seeds: where each left, whether its answer and whether the last
    layer's guess is right. `point` has the seeds whose examples are at hand."""

    point: Point
    depth_SB: np.ndarray
    right_SB: np.ndarray
    last_SB: np.ndarray
    length_B: np.ndarray
    difficulty_B: np.ndarray | None

    @cached_property
    def groups(self) -> list[Group]:
        """Those of each layer where some example left, the last one included."""
        return [Group(self, int(k), self.depth_SB == k) for k in np.unique(self.depth_SB)]

    @property
    def any_early(self) -> Group:
        return Group(self, None, self.depth_SB < self.point.row.num_layers)


@dataclass(frozen=True)
class Group:
    """Examples that left at one layer, or at any but the last (None); over seeds not always the
    same ones. Shares are of all seeds together, with Wilson's interval as of one seed's number,
    since seeds answer the same examples."""

    leaving: Leaving
    layer: int | None
    here_SB: np.ndarray

    @property
    def stayed(self) -> bool:
        return self.layer == self.leaving.point.row.num_layers

    @property
    def name(self) -> str:
        if self.layer is None:
            return "any early exit"
        return f"layer {self.layer}" + (" (last)" if self.stayed else "")

    @property
    def n(self) -> float:
        """Mean over seeds."""
        return float(self.here_SB.sum(1).mean())

    def share(self, of_SB: np.ndarray) -> Interval:
        return wilson(float((of_SB & self.here_SB).sum(1).mean()), self.n)

    @property
    def accuracy(self) -> Interval:
        return self.share(self.leaving.right_SB)

    @property
    def last_accuracy(self) -> Interval:
        """The last layer's, on the same examples."""
        return self.share(self.leaving.last_SB)

    @property
    def harm(self) -> Interval:
        """Wrong, where the last layer is right."""
        return self.share(self.leaving.last_SB & ~self.leaving.right_SB)

    @property
    def help(self) -> Interval:
        """Right, where the last layer is wrong."""
        return self.share(self.leaving.right_SB & ~self.leaving.last_SB)

    @property
    def gain(self) -> Difference:
        """Points of the whole split's accuracy by leaving here and not at the last layer."""
        right_SB, last_SB = self.leaving.right_SB, self.leaving.last_SB
        found = paired_difference(right_SB & self.here_SB, last_SB & self.here_SB).times(100)
        seeds = zip(right_SB, last_SB, self.here_SB, strict=True)
        p = tuple(mcnemar(right_B[at_B], last_B[at_B]) for right_B, last_B, at_B in seeds)
        return Difference(found.value, found, p)


def leaving(point: Point) -> Leaving | None:
    """None where the examples are not at hand."""
    runs = with_examples(point.members)
    if not runs:
        return None
    outcomes = [m.known for m in runs]
    records = [outcome.recorded for outcome in outcomes]
    return Leaving(
        Point(runs),
        np.stack([o.depth_B for o in outcomes]),
        np.stack([o.logits_BC.argmax(1) == o.recorded.labels for o in outcomes]),
        np.stack([r.guesses[point.row.num_layers].argmax(1) == r.labels for r in records]),
        np.asarray(records[0].lengths),
        records[0].difficulty,
    )


@dataclass(frozen=True)
class Depth:
    """Examples that are alike: `x` is their mean length, or their difficulty."""

    name: str
    x: float
    n: int
    depth: Interval
    accuracy: Interval


def by_length(found: Leaving) -> list[Depth]:
    """Mean depth over bins of length, about an eighth of the examples in each."""
    edges = np.unique(np.quantile(found.length_B, np.linspace(0, 1, NUM_BINS + 1)))
    bin_B = np.searchsorted(edges[1:-1], found.length_B, side="left")

    def name(length_B: np.ndarray) -> str:
        low, high = length_B.min(), length_B.max()
        return f"{low} tokens" if low == high else f"{low} to {high} tokens"

    return depths(found, bin_B, found.length_B, name)


def by_difficulty(found: Leaving) -> list[Depth]:
    """Empty where the data do not say it: toy data do."""
    x_B = found.difficulty_B
    return [] if x_B is None else depths(found, x_B, x_B, lambda x_B: f"difficulty {x_B[0]}")


def depths(
    found: Leaving, bin_B: np.ndarray, x_B: np.ndarray, name: Callable[[np.ndarray], str]
) -> list[Depth]:
    made = []
    for each in np.unique(bin_B):
        here_B = bin_B == each
        depth = mean_interval(found.depth_SB[:, here_B].mean(0))
        right, n = float(found.right_SB[:, here_B].sum(1).mean()), int(here_B.sum())
        made.append(Depth(name(x_B[here_B]), float(x_B[here_B].mean()), n, depth, wilson(right, n)))
    return made
