"""A contestant's time on one task at one batch size: the schema, its writer and its reader."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from eat_lightning.errors import ConfigError
from eat_lightning.runs.run import write_text
from eat_lightning.weights.untrusted import parsed

KEY = (
    *("race", "contestant", "task", "batch", "order", "dtype", "threads", "width", "weights"),
    "machine",
)
ELEMENT = {"fp32": 4, "bf16": 2, "int8": 1}  # bytes of a weight


@dataclass(frozen=True)
class BenchRow:
    """Milliseconds and FLOPs are of an example, means over examples; of repeats, in which the
    contestants took turns, the median, with an interval of it in low and high. FLOPs are of real
    tokens, attention included: padding is work, but not work that anybody asked for.

    race: whose turns were taken together, and the table the row stands in. order: "as they come",
    "sorted" by length, or what lengths were chosen. padding_factor: padded tokens / real tokens,
    were each batch padded. flops_ratio, speed_up and conversion (speed_up x flops_ratio) are
    against our static encoder of as many layers; `over` is a ratio of times and its interval, for
    each contestant that the race is about. limit_ms: the larger of FLOPs / gflops_ceiling and bytes
    of weights read / gbytes_ceiling; distance: ms / limit_ms; peak_share: FLOPs / ms against
    gflops_ceiling.
    """

    race: str
    contestant: str
    task: str
    batch: int
    order: str
    dtype: str
    threads: int
    width: int
    num_layers: int
    num_examples: int
    repeats: int
    mean_length: float
    padding_factor: float
    ms: float
    ms_low: float
    ms_high: float
    flops: float
    depth: float
    flops_ratio: float
    speed_up: float
    speed_up_low: float
    speed_up_high: float
    conversion: float
    gflops_ceiling: float
    gbytes_ceiling: float
    limit_ms: float
    distance: float
    peak_share: float
    over: dict[str, list[float]] = field(default_factory=dict)
    weights: str = "random"
    machine: str = ""
    commit: str = ""
    version: str = ""
    session: str = ""

    def __post_init__(self) -> None:
        values = [(name.name, getattr(self, name.name)) for name in fields(self)]
        values += [(f"over {name}", x) for name, ratio in self.over.items() for x in ratio]
        for name, value in values:
            if isinstance(value, float) and not 0 < value < float("inf"):
                raise ValueError(f"{name} must be in (0, inf), got {value!r}")

    @property
    def key(self) -> tuple[Any, ...]:
        return tuple(getattr(self, name) for name in KEY)

    @property
    def heat(self) -> tuple[Any, ...]:
        """What rows that were timed by turns have in common."""
        return self.race, self.task, self.batch, self.order, self.weights, self.session


def read(path: Path) -> list[BenchRow]:
    """None where there is no file; ConfigError names a damaged line."""
    if not path.is_file():
        return []
    rows = []
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        try:
            rows.append(BenchRow(**parsed(line)))
        except (ValueError, TypeError) as error:
            raise ConfigError(f"{path}, line {number}: not a row ({error}); move it away") from None
    return rows


def write(path: Path, new: Iterable[BenchRow]) -> list[BenchRow]:
    """Add rows in place of those with the same key; returns all."""
    fresh = {row.key: row for row in new}
    rows = [*(row for row in read(path) if row.key not in fresh), *fresh.values()]
    write_text(path, "".join(json.dumps(asdict(row)) + "\n" for row in rows))
    return rows
