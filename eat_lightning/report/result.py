"""`Result`: one line of a study that measures something other than a run's setting.

Measurements of a run are `runs.row.Row`. Everything else that a study counts or times (a load test,
an attack, a drift trial, an adaptation) is a `Result`, so that one reader, one writer and one set
of columns suffice.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

from eat_lightning.errors import ConfigError
from eat_lightning.report.intervals import Interval
from eat_lightning.runs import jsonl

ENDS = {"value", "low", "high"}  # keys of an interval in a file


@dataclass(frozen=True)
class Result:
    """One measured line.

    Args:
        what: identity, such as task, model and setting. A new line replaces one with the same
            identity.
        values: what was measured. Names include units (`latency_ms`). An interval is an `Interval`,
            stored as `{"value": 1.9, "low": 1.8, "high": 2.0}`.
        where: the conditions, such as processor, dtype, threads, batch, seed and commit.

    Raises:
        ConfigError: for a number that is not finite, or an interval that excludes its value.
    """

    what: dict[str, Any]
    values: dict[str, Any]
    where: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        read = {name: as_interval(name, value) for name, value in self.values.items()}
        object.__setattr__(self, "values", read)
        for name, value in self.values.items():
            if isinstance(value, float) and not isfinite(value):
                raise ConfigError(f"{name} must be finite, got {value}")

    @property
    def key(self) -> str:
        """The identity as a string."""
        return repr(sorted(self.what.items()))

    def __getitem__(self, name: str) -> Any:
        """Return a value by name from `what`, `values` or `where`; None if it was not measured."""
        for part in (self.what, self.values, self.where):
            if name in part:
                return part[name]
        return None


def as_interval(name: str, value: Any) -> Any:
    """Return the interval that a JSON object stands for; other values are returned unchanged."""
    if not (isinstance(value, dict) and value.keys() == ENDS):
        return value
    if not value["low"] <= value["value"] <= value["high"]:
        raise ConfigError(f"{name} must lie in its interval, got {value}")
    return Interval(**value)


def read(path: Path | str) -> list[Result]:
    """Return all lines of a file; an empty list without a file."""
    return jsonl.read(path, Result, "result")


def update(path: Path | str, new: Iterable[Result]) -> list[Result]:
    """Write lines, replacing those with the same `what`; returns all lines of the file."""
    return jsonl.update(path, Result, new)
