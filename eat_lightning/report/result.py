"""`Result`: one line of a study that measures something other than a run's setting.

A run's own measurements are `runs.row.Row`. Everything else that a study counts or times (a load
test, an attack, a drift trial, an adaptation) is a `Result`, so that one reader, one writer and one
set of columns serve them all.
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
        what: identity, such as task, model and setting; a new line replaces the one that has it.
        values: what was measured. Units stand in the names (`latency_ms`); an interval is an
            `Interval`, in a file `{"value": 1.9, "low": 1.8, "high": 2.0}`.
        where: the conditions, such as processor, dtype, threads, batch, seed and commit.

    Raises ConfigError for a number that is not finite and for an interval without its value in it.
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
        """Identity as text."""
        return repr(sorted(self.what.items()))

    def __getitem__(self, name: str) -> Any:
        """A value by its name, wherever it stands; None where it was not measured."""
        for part in (self.what, self.values, self.where):
            if name in part:
                return part[name]
        return None


def as_interval(name: str, value: Any) -> Any:
    """The interval that a file's object stands for; any other value as it is."""
    if not (isinstance(value, dict) and value.keys() == ENDS):
        return value
    if not value["low"] <= value["value"] <= value["high"]:
        raise ConfigError(f"{name} must lie in its interval, got {value}")
    return Interval(**value)


def read(path: Path | str) -> list[Result]:
    """All lines of a file; none where there is no file."""
    return jsonl.read(path, Result, "result")


def update(path: Path | str, new: Iterable[Result]) -> list[Result]:
    """Write lines in place of those with the same `what`; returns all of the file's."""
    return jsonl.update(path, Result, new)
