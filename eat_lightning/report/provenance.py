"""Provenance of a table's line or a figure's mark: its runs, and the command that repeats it."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass

from eat_lightning.infer.precision import PLAIN
from eat_lightning.report.study import Point
from eat_lightning.runs.row import THEIRS, Row, knob_here


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
        points = "taus" if row.knob == "tau" else "points"
        free = row.baseline != THEIRS and row.dtype != "int8" and row.device == "cpu"
        settings = {
            f"budgets=[{row.budget or 0:g}]": row.budget,
            f"{points}=[{row.point}]": off_grid(row),
            "baselines=all": row.baseline == THEIRS,
            f"dtype={row.dtype}": row.dtype != "fp32",
            f"backend={row.engine}": row.engine != "torch",
            # Plain weights that a measurement of today would prepack if it can.
            "prepack=false": point.timed and free and row.form == PLAIN,
        }
        named = [setting for setting, is_given in settings.items() if is_given]
        words = ["python", "-m", "eat_lightning.measure", *dict.fromkeys(runs)]
        words += [*rule_named(row), *named]
        return cls(tuple(point.runs), shlex.join(words), tuple(point.commits))


def rule_named(row: Row) -> list[str]:
    """The exit rule and its settings but for its knob, where it may not be the run's own; a run's
    own is confidence as a rule, and baselines come by themselves."""
    kind = row.exit.kind
    if row.baseline or kind in ("confidence", "never"):
        return []
    arguments = row.exit.without(row.knob).arguments
    as_given = json.JSONEncoder(separators=(",", ":")).encode  # as an override has it
    return [
        f"exit={kind}",
        *(f"exit.{name}={as_given(value)}" for name, value in arguments.items()),
    ]


def off_grid(row: Row) -> bool:
    """Find out whether a measurement's command must name the point of its knob."""
    if row.knob is None or not isinstance(row.point, float):
        return False
    knob = knob_here(row.exit)
    return knob is None or row.point not in knob.grid
