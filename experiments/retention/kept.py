"""Which tokens are kept in a study: by schedule and by observation, over training and by length.

Shapes: B examples, L layers, S seeds, T logged steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import pairwise

import numpy as np

from eat_lightning.report.passes import Pass, passes, with_examples
from eat_lightning.report.statistics import Interval, mean_interval
from eat_lightning.report.study import Measured, Point, Study
from eat_lightning.runs.run import Run

from .curves import curves
from .pruning import ratios_of, staircase

NAMES = ("train/strength", "train/scheduled_retention", "train/retention", "select/retention")
WINDOW = 9  # logged steps that a drawn mean takes in
PARTS = 8  # groups of lengths in a figure
DRAWS = 1000  # of a bootstrap: retention takes many values, so that each draw is slow
END = 0.1  # share of the logged steps that count as the end of training


@dataclass
class Kept:
    """A body with a reduction, under its exit rules."""

    found: Pass
    ratios: list[Fraction]

    @property
    def model(self) -> str:
        return self.found.name

    @cached_property
    def lengths_B(self) -> np.ndarray:
        return self.found.recorded[0].tokens_LB[0]

    @cached_property
    def whole_B(self) -> np.ndarray:
        """Retention where every layer is run, seeds averaged."""
        all_SLB = [recorded.tokens_LB for recorded in self.found.recorded]
        return np.mean([tokens_LB[-1] / tokens_LB[0] for tokens_LB in all_SLB], axis=0)

    @cached_property
    def predicted_B(self) -> np.ndarray:
        return staircase(self.lengths_B, self.ratios)

    @cached_property
    def rules(self) -> list[Rule]:
        """Exit rules under which some leave early, and whose examples are at hand."""
        found = []
        for point in self.found.early:
            outcomes = [m.known for m in with_examples(point.members)]
            if outcomes:
                retention_B = np.mean([outcome.retention_B for outcome in outcomes], axis=0)
                found.append(Rule(point, retention_B, self.lengths_B))
        return found


@dataclass
class Rule:
    """A body under an exit rule: retention of each example, seeds averaged."""

    point: Point
    retention_B: np.ndarray
    lengths_B: np.ndarray

    @cached_property
    def groups(self) -> list[tuple[tuple[int, int], float, Interval]]:
        """The first and last length of each of `PARTS` groups, the mean, and mean retention."""
        found = []
        for ends in quarters(self.lengths_B, PARTS):
            here_B = within(self.lengths_B, ends)
            at = float(self.lengths_B[here_B].mean())
            found.append((ends, at, mean_of(self.retention_B[here_B])))
        return found


def mean_of(values_B: np.ndarray) -> Interval:
    return mean_interval(values_B, draws=DRAWS)


def reducing(study: Study, task: str) -> list[Kept]:
    """The task's bodies whose reduction has a ratio above 0 somewhere."""
    found = []
    for one in passes(study, task):
        ratios = ratios_of(one.row.reduction, one.row.num_layers, one.row.strength)
        if ratios and any(ratios):
            found.append(Kept(one, ratios))
    return found


def quarters(lengths_B: np.ndarray, parts: int = 4) -> list[tuple[int, int]]:
    """(first, last) length of each quarter of the examples; fewer where many have one length."""
    inner = np.quantile(lengths_B, np.arange(1, parts) / parts, method="inverted_cdf")
    ends = np.unique([lengths_B.min() - 1, *inner, lengths_B.max()]).tolist()
    return [(low + 1, high) for low, high in pairwise(ends)]


def named(ends: tuple[int, int]) -> str:
    low, high = ends
    return f"{low} tokens" if low == high else f"{low} to {high} tokens"


def within(lengths_B: np.ndarray, ends: tuple[int, int]) -> np.ndarray:
    return (ends[0] <= lengths_B) & (lengths_B <= ends[1])


@dataclass
class Curve:
    """One of `NAMES` over training, seeds averaged: epochs done and values."""

    epoch_T: np.ndarray
    value_T: np.ndarray

    @property
    def smooth_T(self) -> np.ndarray:
        """A running mean, over fewer steps at the ends."""
        window = np.ones(min(WINDOW, len(self.value_T)))  # a longer one would lengthen the curve
        sums_T = np.convolve(self.value_T, window, "same")
        return sums_T / np.convolve(np.ones_like(self.value_T), window, "same")

    @property
    def last(self) -> float:
        return float(self.value_T[-1])

    @property
    def end(self) -> float:
        """Mean over the last tenth of the steps."""
        return float(self.value_T[-max(1, round(END * len(self.value_T))) :].mean())


@dataclass
class Training:
    """What the runs behind a body logged: the schedule's strength and what it says, and what was
    seen in training and on the selection split."""

    kept: Kept
    point: Point
    epochs: float
    steps: int
    strength: Curve
    goal: Curve
    seen: Curve
    select: Curve

    @property
    def above(self) -> float:
        return self.seen.end - self.goal.end


def training_of(study: Study, kept: Kept) -> Training | None:
    """None where no run folder is at hand, or its curves are not. Seeds of other numbers of steps
    than the first are left out."""
    found: dict[str, tuple[Measured, Run]] = {}
    for point in kept.found.points:
        for m in point.members:
            run = study.run_of(m)
            if run is not None and run.done.get("steps"):
                found.setdefault(str(run.folder), (m, run))
    logged = [(m, run, curves(run)) for m, run in found.values()]
    logged = [(m, run, c) for m, run, c in logged if {*NAMES} <= c.keys()]
    if not logged:
        return None
    steps = logged[0][1].done["steps"]
    alike = [(m, run, c) for m, run, c in logged if run.done["steps"] == steps]
    epochs = float(alike[0][1].config["trainer"]["max_epochs"] or 1)
    made = [averaged([c[name] for *_, c in alike], epochs / steps) for name in NAMES]
    point = Point(sorted((m for m, *_ in alike), key=lambda m: m.row.seed))
    return Training(kept, point, epochs, steps, *made)


def averaged(found: Sequence[tuple[np.ndarray, np.ndarray]], epochs_per_step: float) -> Curve:
    """Over the steps that all seeds logged."""
    step_T = found[0][0]
    for other, _ in found[1:]:
        step_T = np.intersect1d(step_T, other)
    value_T = np.mean([v[np.isin(at, step_T)] for at, v in found], axis=0)
    return Curve((step_T + 1) * epochs_per_step, value_T)
