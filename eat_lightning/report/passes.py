"""Recorded passes of a task: what every exit of a body says, over seeds, and the rules tried on it.

Shapes: B examples, S seeds, E exits.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from eat_lightning.infer.recorded import Outcome, Recorded
from eat_lightning.model.contracts import build, point_of
from eat_lightning.report.claim import Source
from eat_lightning.report.compare import source_of
from eat_lightning.report.figures import Look, looks_of, model_name
from eat_lightning.report.study import SAME_POINT, Measured, Point, Study, heads_of
from eat_lightning.runs.row import Row

NO_PASS = ("exit", "form", "threads", "machine")
SAME_PASS = tuple(name for name in SAME_POINT if name not in NO_PASS)


@dataclass
class Pass:
    """Settings that differ in their exit rule alone, by knob; baselines are none of them. `name`
    tells it from the other passes of its task."""

    points: list[Point]
    name: str
    look: Look

    @property
    def row(self) -> Row:
        return self.points[0].row

    @property
    def slug(self) -> str:
        """For the names of files and ids."""
        return re.sub(r"[^a-z0-9]+", "-", f"{self.row.task} {self.name}".lower()).strip("-")

    @cached_property
    def runs(self) -> list[Measured]:
        """A row of each run whose examples are at hand, by seed."""
        found: dict[tuple[str, str], Measured] = {}
        for m in with_examples(m for point in self.points for m in point.members):
            found.setdefault((str(m.folder), m.row.run), m)
        return sorted(found.values(), key=lambda m: m.row.seed)

    @property
    def seeds(self) -> str:
        return ", ".join(str(m.row.seed) for m in self.runs)

    @property
    def source(self) -> Source:
        """Of all its runs, whatever the rule."""
        return source_of(Point(self.runs))

    @property
    def recorded(self) -> list[Recorded]:
        """What was recorded of each of `runs`."""
        return [outcome_of(m).recorded for m in self.runs]

    @property
    def layers(self) -> list[int]:
        """Where there are heads, the last layer included."""
        return sorted(self.recorded[0].guesses) if self.runs else []

    def correct_SB(self, layer: int) -> np.ndarray:
        """Whether the guess at `layer` is right, for each of `runs`."""
        return np.stack([r.guesses[layer].argmax(1) == r.labels for r in self.recorded])

    @property
    def early(self) -> list[Point]:
        """The settings in which some example left before the last layer."""
        last = str(self.row.num_layers)
        return [p for p in self.points if any(set(m.row.exit_shares) - {last} for m in p.members)]

    @property
    def usual(self) -> Point:
        """Of `early` the one whose knob stands nearest to its rule's default."""
        return min(self.early, key=lambda point: abs(turned_to(point) - default_point(point.row)))


def passes(study: Study, task: str) -> list[Pass]:
    groups: dict[str, list[Point]] = {}
    for point in study.points(task=task, baseline=""):
        same = [heads_of(point.row), *(getattr(point.row, name) for name in SAME_PASS)]
        key = json.dumps(same, sort_keys=True)
        groups.setdefault(key, []).append(point)
    looks, rows = looks_of(study), [m.row for m in study.measured]
    found = [by_rule(points) for points in groups.values()]
    models = [model_name(points[0].row, rows) for points in found]
    names = told_apart([points[0] for points in found], models)
    each = zip(found, names, models, strict=True)
    return [Pass(points, name, looks[model]) for points, name, model in each]


def by_rule(points: Sequence[Point]) -> list[Point]:
    """By knob, then the rules without one; of a rule that was timed in several ways the first."""
    distinct: dict[str, Point] = {}
    for point in points:
        distinct.setdefault(json.dumps(point.row.exit, sort_keys=True), point)
    return sorted(distinct.values(), key=lambda p: (turned_to(p), p.row.exit["kind"] == "never"))


def turned_to(point: Point) -> float:
    """Where the rule's knob stands; 2 where it has none, or one for each exit."""
    return point.row.point if isinstance(point.row.point, float) else 2.0


def default_point(row: Row) -> float:
    try:
        default = point_of(build("exit", {"kind": row.exit["kind"]}))
    except (ValueError, TypeError):  # a rule that is not here, or has no defaults
        return 1.0
    return default if isinstance(default, float) else 1.0


TOLD_BY: tuple[Callable[[Point], str], ...] = (
    lambda point: f"{point.row.num_layers} layers",
    lambda point: point.slots,
    lambda point: f"heads {heads_of(point.row)}",
    lambda point: point.row.dtype,
    lambda point: point.row.device,
    lambda point: point.row.split,
)


def told_apart(points: Sequence[Point], models: Sequence[str]) -> Iterator[str]:
    """A pass's model, and what differs from the other passes of that model."""
    for point, model in zip(points, models, strict=True):
        alike = [p for p, other in zip(points, models, strict=True) if other == model]
        telling = [tell for tell in TOLD_BY if len({tell(p) for p in alike}) > 1]
        yield ", ".join([model, *(tell(point) for tell in telling)])


def with_examples(measured: Iterator[Measured] | Sequence[Measured]) -> list[Measured]:
    """Those whose examples are at hand and have classes; as many examples as the first has."""
    found = [m for m in measured if m.outcome and m.outcome.logits_BC.shape[1] > 1]
    return [m for m in found if m.row.num_examples == found[0].row.num_examples]


def outcome_of(measured: Measured) -> Outcome:
    """Of one of `with_examples`."""
    if measured.outcome is None:
        raise ValueError(f"{measured.row.run}: no examples")
    return measured.outcome
