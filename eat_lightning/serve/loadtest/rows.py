"""What one load on one gateway gave: the schema, its writer and its reader."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from eat_lightning.errors import ConfigError
from eat_lightning.runs.run import write_text
from eat_lightning.serve.loadtest.traffic import Shot

KEY = ("run", "backend", "exits", "mode", "basis", "level", "machine", "commit")


@dataclass(frozen=True)
class LoadRow:
    """exits: "own", or "never" (the same weights at full depth). basis: whose capacity `level` is a
    share of, "own" or "static". capacity: answers a second to askers that wait for their answers.
    rps: answers a second of those offered, until the last of them ended. Latencies of what was
    answered, from the scheduled time, in ms; late_p99_ms: how late the generator itself was.
    """

    run: str
    task: str
    backend: str
    exits: str
    mode: str
    batch: int
    wait_ms: float
    queue: int
    deadline_ms: float
    basis: str
    level: float
    capacity: float
    offered: float
    seconds: float
    num_sent: int
    num_answered: int
    rps: float
    share_503: float
    share_504: float
    num_other: int
    p50_ms: float
    p90_ms: float
    p99_ms: float
    max_ms: float
    mean_depth: float
    late_p99_ms: float
    machine: str = ""
    commit: str = ""
    version: str = ""
    session: str = ""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, float) and not 0 <= value < float("inf"):
                raise ValueError(f"{field.name} must be in [0, inf), got {value!r}")

    @property
    def key(self) -> tuple[Any, ...]:
        return tuple(getattr(self, name) for name in KEY)

    @property
    def name(self) -> str:
        """The contestant."""
        depth = "adaptive" if self.exits == "own" else "static, full depth"
        return f"{depth}, {self.backend}"


def measured(shots: Sequence[Shot], seconds: float) -> dict[str, Any]:
    """A row's numbers of what happened. ValueError where nothing was answered."""
    good = [shot for shot in shots if shot.status == 200]
    if not good:
        raise ValueError(f"none of {len(shots)} requests was answered")
    taken_ms = np.array([shot.ended - shot.due for shot in good]) * 1e3
    p50, p90, p99 = np.percentile(taken_ms, (50, 90, 99)).tolist()
    late_ms = np.array([shot.sent - shot.due for shot in shots]) * 1e3
    counted = {status: sum(shot.status == status for shot in shots) for status in (503, 504)}
    return {
        "num_sent": len(shots),
        "num_answered": len(good),
        "rps": len(good) / max(seconds, *(shot.ended for shot in shots)),
        "share_503": counted[503] / len(shots),
        "share_504": counted[504] / len(shots),
        "num_other": len(shots) - len(good) - sum(counted.values()),
        **{"p50_ms": p50, "p90_ms": p90, "p99_ms": p99, "max_ms": float(taken_ms.max())},
        "mean_depth": float(np.mean([shot.depth for shot in good if shot.depth is not None])),
        "late_p99_ms": max(0.0, float(np.percentile(late_ms, 99))),
    }


def read(path: Path) -> list[LoadRow]:
    """Empty where there is no file; ConfigError names a damaged line."""
    if not path.is_file():
        return []
    rows = []
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        try:
            rows.append(LoadRow(**json.loads(line)))
        except (ValueError, TypeError) as error:
            raise ConfigError(f"{path}, line {number}: not a row ({error}); move it away") from None
    return rows


def write(path: Path, new: Sequence[LoadRow]) -> list[LoadRow]:
    """Add rows in place of those with the same key; returns all."""
    fresh = {row.key: row for row in new}
    rows = [*(row for row in read(path) if row.key not in fresh), *fresh.values()]
    write_text(path, "".join(json.dumps(asdict(row)) + "\n" for row in rows))
    return rows
