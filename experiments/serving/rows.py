"""Rows of one load on one gateway."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Any

import numpy as np
from pydantic.dataclasses import dataclass

from eat_lightning.validation import STRICT, NotNegative
from experiments.serving.traffic import Shot

KEY = ("run", "backend", "exits", "mode", "basis", "level", "machine", "commit")


@dataclass(frozen=True, config=STRICT)
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
    wait_ms: NotNegative
    queue: int
    deadline_ms: NotNegative
    basis: str
    level: NotNegative
    capacity: NotNegative
    offered: NotNegative
    seconds: NotNegative
    num_sent: int
    num_answered: int
    rps: NotNegative
    share_503: NotNegative
    share_504: NotNegative
    num_other: int
    p50_ms: NotNegative
    p90_ms: NotNegative
    p99_ms: NotNegative
    max_ms: NotNegative
    mean_depth: NotNegative
    late_p99_ms: NotNegative
    machine: str = ""
    commit: str = ""
    version: str = ""
    session: str = ""

    key = property(attrgetter(*KEY))

    @property
    def name(self) -> str:
        """Return the name of the measured setting."""
        depth = "adaptive" if self.exits == "own" else "static, full depth"
        return f"{depth}, {self.backend}"

    def __str__(self) -> str:
        return (
            f"{self.mode}, {self.name}: capacity {self.capacity:.0f}/s; at {self.offered:.0f}/s "
            f"({100 * self.level:.0f} % of {self.basis}) {self.rps:.0f}/s answered, "
            f"p50 {self.p50_ms:.1f} ms, p99 {self.p99_ms:.1f} ms, "
            f"503 {100 * self.share_503:.1f} %, depth {self.mean_depth:.2f}"
        )


def measured(shots: Sequence[Shot], seconds: float) -> dict[str, Any]:
    """A row's numbers of what happened. ValueError where nothing was answered."""
    good = [shot for shot in shots if shot.status == 200]
    if not good:
        raise ValueError(f"none of {len(shots)} requests was answered")
    taken_ms = [1e3 * (shot.ended - shot.due) for shot in good]
    found = np.percentile(taken_ms, (50, 90, 99, 100)).tolist()
    latencies = dict(zip(("p50_ms", "p90_ms", "p99_ms", "max_ms"), found, strict=True))
    late_p99 = float(np.percentile([1e3 * (shot.sent - shot.due) for shot in shots], 99))
    num_503, num_504 = (sum(shot.status == status for shot in shots) for status in (503, 504))
    return latencies | {
        "num_sent": len(shots),
        "num_answered": len(good),
        "rps": len(good) / max(seconds, *(shot.ended for shot in shots)),
        "share_503": num_503 / len(shots),
        "share_504": num_504 / len(shots),
        "num_other": len(shots) - len(good) - num_503 - num_504,
        "mean_depth": float(np.mean([shot.depth for shot in good if shot.depth is not None])),
        "late_p99_ms": max(0.0, late_p99),
    }
