"""Recorded passes of a task: the logits of every exit of a backbone over seeds, and the rules
evaluated on them.

Shapes: B examples, S seeds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from json import JSONEncoder
from typing import Any

import numpy as np
from pandas import DataFrame, concat

from eat_lightning.files import as_dict
from eat_lightning.model.contracts import point_of
from eat_lightning.model.specification import build, value_text
from eat_lightning.record.record import Record
from eat_lightning.report import cells
from eat_lightning.report.figures import SeriesLook, looks_of
from eat_lightning.report.study import KeptRow, Mark, Study, grouped_by
from eat_lightning.runs.names import SAME_POINT
from eat_lightning.runs.row import Row

SAME_PASS = tuple(name for name in SAME_POINT if name not in ("form", "threads", "machine"))
USUAL = (  # what `Pass.usual` gives
    "For each model, the rule shown is the one whose threshold is nearest to its default (tau "
    "0.9 for confidence), regardless of cost. To compare models at equal cost, measure "
    "budgets=[0.5]."
)
TOLD_BY = ("dtype", "device", "split")
as_text = JSONEncoder(sort_keys=True, default=as_dict).encode  # what is the same has the same text


@dataclass
class Pass:
    """Settings that differ only in their exit rule, ordered by threshold, without baselines. `name`
    distinguishes it from the task's other passes.
    """

    points: list[Mark]
    name: str
    look: SeriesLook

    @property
    def row(self) -> Row:
        return self.points[0].row

    @property
    def slug(self) -> str:
        """The name in file names and ids."""
        return re.sub(r"[^a-z0-9]+", "-", f"{self.row.task} {self.name}".lower()).strip("-")

    @cached_property
    def runs(self) -> list[KeptRow]:
        """One row per run with stored examples, by seed."""
        known = with_examples(m for point in self.points for m in point.members)
        first = [own[0] for own in grouped_by(known, lambda m: m.run).values()]
        return sorted(first, key=lambda m: m.row.seed)

    @property
    def point(self) -> Mark:
        """All its runs, regardless of the rule."""
        return Mark(self.runs)

    @property
    def seeds(self) -> str:
        return cells.seeds(self.point).text

    @property
    def records(self) -> list[Record]:
        """The record of each of `runs`."""
        return [m.record for m in self.runs]

    @property
    def layers(self) -> list[int]:
        """Layers with heads, including the last layer."""
        return sorted(self.records[0].guesses) if self.runs else []

    def correct_SB(self, layer: int) -> np.ndarray:
        """Correct predictions at `layer`, for each of `runs`."""
        return np.stack([r.guesses[layer].argmax(1) == r.labels for r in self.records])

    @property
    def early(self) -> list[Mark]:
        """Settings in which some example exits before the last layer."""
        last = str(self.row.num_layers)
        return [p for p in self.points if any(set(m.row.exit_shares) - {last} for m in p.members)]

    @property
    def usual(self) -> Mark:
        """The setting in `early` whose threshold is nearest to its rule's default."""
        return min(self.early, key=lambda point: abs(turned_to(point) - default_point(point.row)))


def passes(study: Study, task: str) -> list[Pass]:
    def same(point: Mark) -> str:
        row = point.row
        return as_text([study.name_of(row), *(getattr(row, name) for name in SAME_PASS)])

    groups = grouped_by(study.points(task=task, baseline="", policy=[]), same).values()
    looks, rows = looks_of(study), grouped_by([g[0].row for g in groups], study.name_of)
    found = []
    for points in groups:
        name = study.name_of(points[0].row)
        label = told_apart(name, points[0].row, rows[name])
        found.append(Pass(by_rule(points), label, looks[name]))
    return found


def how_chosen(told: Iterable[Pass]) -> list[str]:
    """Explain how the rules were chosen, with a line for passes whose thresholds differ."""
    return [USUAL] if len({p.usual.setting for p in told}) > 1 else []


def told_apart(name: str, row: Row, alike: Sequence[Row]) -> str:
    """Name the differences between passes of one name: dtype, device, split, and the reduction
    where a fit for a budget changed it.
    """
    telling = [key for key in TOLD_BY if len({getattr(other, key) for other in alike}) > 1]
    others = [other.reduction.arguments for other in alike]
    own = row.reduction.arguments.items()
    moved = [(k, v) for k, v in own if any(other.get(k) != v for other in others)]
    words = [*(getattr(row, key) for key in telling), *(f"{k} {value_text(v)}" for k, v in moved)]
    return ", ".join([name, *words])


def by_rule(points: Sequence[Mark]) -> list[Mark]:
    """Sort by threshold, then rules without one. A rule timed in several ways is returned once."""
    distinct = [own[0] for own in grouped_by(points, lambda p: as_text(p.row.exit)).values()]
    return sorted(distinct, key=lambda p: (turned_to(p), p.row.exit.kind == "never"))


def turned_to(point: Mark) -> float:
    """Return the rule's threshold; 2 if it has none, or one for each exit."""
    return point.row.point if isinstance(point.row.point, float) else 2.0


def default_point(row: Row) -> float:
    try:
        default = point_of(build("exit", {"kind": row.exit.kind}))
    except (ValueError, TypeError):  # a rule that is not here, or has no defaults
        return 1.0
    return default if isinstance(default, float) else 1.0


def with_examples(measured: Iterable[KeptRow]) -> list[KeptRow]:
    """Return rows whose examples are stored and have classes, and match the first in number."""
    found = [m for m in measured if m.outcome and m.outcome.logits_BC.shape[1] > 1]
    return [m for m in found if m.row.num_examples == found[0].row.num_examples]


def examples_of(point: Mark) -> Any:
    """Return a line for each run and example under a point's rule, run after run.

    Columns are the exit layer, whether its answer and that of the last layer are right, and the
    retained tokens. None without stored examples.
    """
    frames = []
    for i, m in enumerate(with_examples(point.members)):
        outcome, record = m.known, m.record
        last_BC = record.guesses[m.row.num_layers]
        columns = {
            "run": i,
            "depth": outcome.depth_B,
            "right": m.correct_B,
            "last_right": last_BC.argmax(1) == record.labels,
            "retention": outcome.retention_B,
            "length": record.lengths,
            "difficulty": record.difficulty,
        }
        frames.append(DataFrame(columns))
    return concat(frames, ignore_index=True) if frames else None


def by_seed(frame: Any, values: Any) -> np.ndarray:
    """Return a column of `examples_of`, or values computed from it, as S x B."""
    return np.asarray(values).reshape(frame["run"].nunique(), -1)


def examples_text(found: Iterable[Pass]) -> str:
    """Describe the number of examples that each was evaluated on."""
    numbers = dict.fromkeys(each.row.num_examples for each in found)
    return " or ".join(f"{number} examples" for number in numbers)
