"""A line for each method and budget, for every claim that compares them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from eat_lightning.report import columns as col
from eat_lightning.report.compare import Entry, speed_up
from eat_lightning.report.figures import looks_of
from eat_lightning.report.setting_table import GAIN
from eat_lightning.report.study import Point, Study

NEED = "no row here was fitted for a budget: python -m eat_lightning.measure run=... budgets=[0.5]"
OWN = "times as fast as own static"
TIMES: dict[str, Any] = {"against": 1}
FULL = "accuracy with nobody leaving early, percent"
TO_TRAINED = f"points {col.TRAINED}; {col.PAIRED}"
COLUMNS = [
    col.word("model", "trained with"),
    col.word("setting", "budget", help="share of full FLOPs it was fitted for"),
    col.values("seed", "seeds", key="seeds"),
    col.spread("full", "full depth", help=FULL),
    col.accuracy(),
    col.field("flops_ratio", "FLOPs", 3, "counted, / those of own static"),
    col.field("depth", "depth", 2, "layers run, mean over examples"),
    col.field("retention", "retention", 3, "tokens entering the last executed layer / at first"),
    col.points("gain", "Δ fixed depth", help=GAIN),
    col.points("to_trained", "Δ trained static", help=TO_TRAINED),
    col.interval("single", "batch 1", help=f"{OWN}; {col.REPEATS}", **TIMES),
    col.interval("batch", "batches", help=f"{OWN}, as they come; {col.REPEATS}", **TIMES),
    *map(col.values, ("num_examples", "split", "weights", "steps", "commit")),
]


class Method:
    """What was trained: a line for each of its budgets, and the same weights at fixed depths, by
    depth, of which the last is with nobody leaving early."""

    def __init__(self, study: Study, name: str, points: Sequence[Point]):
        self.name, self.color = name, looks_of(study)[name].color
        fixed = [p for p in points if Entry(study, p).fixed]
        self.fixed = sorted(fixed, key=lambda p: p.row.depth)
        fitted = sorted((p for p in points if p.row.budget), key=lambda p: p.row.budget or 0.0)
        self.lines = [self.line(Entry(study, point)) for point in fitted]

    def line(self, entry: Entry) -> dict[str, Any]:
        full = self.fixed[-1].values("accuracy") if self.fixed else []
        return {
            "model": self.name,
            "setting": entry.point.setting,
            "full": [100 * value for value in full],
            "gain": entry.gain,
            "to_trained": entry.to_trained,
            "single": speed_up(entry.point),
            "batch": speed_up(entry.point, "batch_"),
            "point": entry.point,
        }


def methods_of(study: Study, task: str) -> list[Method]:
    points: dict[str, list[Point]] = {}
    for point in sorted(study.points(task=task), key=lambda p: p.row.budget is None):
        points.setdefault(study.name_of(point.row), []).append(point)
    found = [Method(study, name, own) for name, own in points.items()]
    return [method for method in found if method.lines]
