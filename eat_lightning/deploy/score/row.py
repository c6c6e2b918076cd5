"""Row that a start of `score` measures of itself: rows, seconds, depth and retention."""

from __future__ import annotations

from operator import attrgetter

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from eat_lightning.deploy.score.work import Tally
from eat_lightning.validation import NotNegative

BILLION = 1_000_000_000


@dataclass(frozen=True, config=ConfigDict(strict=True, extra="forbid"))
class ScoreRow:
    """rows: that were answered in this start, in so many seconds. exits: the exit rule's spec."""

    run: str
    backend: str
    exits: str
    workers: int
    rows: int
    rejects: int
    seconds: NotNegative
    mean_depth: NotNegative
    retention: NotNegative
    machine: str = ""
    commit: str = ""
    version: str = ""
    session: str = ""
    engine: str = "local"  # rows kept before 0.3 name one

    key = property(attrgetter("session"))

    @property
    def rate(self) -> float:
        """Rows a second."""
        return self.rows / self.seconds if self.seconds else 0.0

    @property
    def core_hours(self) -> float:
        """Core-hours of a billion such rows."""
        return BILLION * self.workers / self.rate / 3600 if self.rate else 0.0


def summary(row: ScoreRow, tally: Tally) -> list[str]:
    """Lines for a person, of what this start did."""
    shares = {d: 100 * n / max(1, row.rows) for d, n in sorted(tally.depths.items())}
    reasons = {r: 100 * n / max(1, row.rows) for r, n in tally.reasons.most_common()}
    found = [
        f"{row.rows:,} rows in {row.seconds:,.1f} s: {row.rate:,.0f}/s, {row.workers} workers",
        f"mean depth {row.mean_depth:.2f}, retention {row.retention:.3f}",
        "left at layer: " + ", ".join(f"{d} {share:.1f} %" for d, share in shares.items()),
        "because: " + ", ".join(f"{r} {share:.1f} %" for r, share in reasons.items()),
        f"a billion such rows: {row.core_hours:,.0f} core-hours",
    ]
    rejected = f"rejected: {row.rejects:,}, with reasons in _rejects/"
    return ([*found, rejected] if row.rejects else found) if row.rows else [rejected]
