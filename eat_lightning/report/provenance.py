"""Where a line of a table or a mark of a figure comes from, and how to measure it again."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass

from eat_lightning.infer.precision import PLAIN
from eat_lightning.model.contracts import knob_of
from eat_lightning.report.study import Point
from eat_lightning.runs.row import THEIRS, Row, class_here


@dataclass(frozen=True)
class Provenance:
    """The runs' names, the command that measures them again, and the rows' commits."""

    runs: tuple[str, ...]
    command: str = ""
    commits: tuple[str, ...] = ()

    @classmethod
    def of(cls, point: Provenance | Point) -> Provenance:
        """Find it for rows; what was found stays as it is."""
        if isinstance(point, Provenance):
            return point
        row = point.row
        runs = [f"run=outputs/{m.row.study}/{m.row.run}" for m in point.members]
        more = rule_named(row)
        more += [f"budgets=[{row.budget:g}]"] if row.budget else []
        points = "taus" if row.knob == "tau" else "points"
        more += [f"{points}=[{row.point}]"] if off_grid(row) else []
        more += ["baselines=all"] if row.baseline == THEIRS else []
        more += [f"dtype={row.dtype}"] if row.dtype != "fp32" else []
        more += [f"backend={row.engine}"] if row.engine != "torch" else []
        more += ["prepack=false"] if point.timed and could_be_prepacked(row) else []
        words = ["python", "-m", "eat_lightning.measure", *dict.fromkeys(runs), *more]
        return cls(tuple(point.runs), shlex.join(words), tuple(point.commits))


def rule_named(row: Row) -> list[str]:
    """The exit rule and its settings but for its knob, where it may not be the run's own; a run's
    own is confidence as a rule, and baselines come by themselves."""
    kind = row.exit["kind"]
    if row.baseline or kind in ("confidence", "never"):
        return []
    said = {name: value for name, value in row.exit.items() if name not in ("kind", row.knob)}
    as_given = json.JSONEncoder(separators=(",", ":")).encode  # as an override has it
    return [f"exit={kind}", *(f"exit.{name}={as_given(value)}" for name, value in said.items())]


def off_grid(row: Row) -> bool:
    """Whether a measurement has to be told the point of its knob."""
    if row.knob is None or not isinstance(row.point, float):
        return False
    knob = knob_of(class_here("exit", row.exit["kind"]))
    return knob is None or row.point not in knob.grid


def could_be_prepacked(row: Row) -> bool:
    """Plain weights that a measurement of today would prepack if it can."""
    free = row.baseline != THEIRS and row.dtype != "int8" and row.device == "cpu"
    return free and row.form == PLAIN
