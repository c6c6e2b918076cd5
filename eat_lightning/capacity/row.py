"""What `capacity` found."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from eat_lightning.config import Amount

KEY = ("run", "exits", "gateway", "mode", "batch", "rate", "p99_ms", "machine", "commit")
BILLION = 1_000_000_000


@dataclass(frozen=True, config=ConfigDict(strict=True, extra="forbid"))
class Check:
    """A load on this many replicas, as it was predicted and as it was measured. rps: answered by
    replicas that are kept busy. Latencies in ms, of Poisson arrivals at `offered` a second."""

    replicas: int
    offered: Amount
    rps: Amount
    rps_predicted: Amount
    p50_ms: Amount
    p50_predicted: Amount
    p99_ms: Amount
    p99_predicted: Amount

    def __str__(self) -> str:
        pairs = [
            ("capacity", self.rps, self.rps_predicted, "/s"),
            ("p50", self.p50_ms, self.p50_predicted, " ms"),
            ("p99", self.p99_ms, self.p99_predicted, " ms"),
        ]
        said = ", ".join(
            f"{name} {there:.1f}{unit} predicted, {here:.1f} measured ({error(there, here):+.1f} %)"
            for name, here, there, unit in pairs
        )
        return f"{self.replicas} replicas at {self.offered:.0f}/s: {said}"


def error(predicted: float, measured: float) -> float:
    """The simulation's error, in percent of what was measured."""
    return 100 * (predicted - measured) / measured if measured else 0.0


@dataclass(frozen=True, config=ConfigDict(strict=True, extra="forbid"))
class CapacityRow:
    """exits: "own" or "static". gateway: the settings of a replica, a budget or tau among them, as
    `serve` takes them. replicas: of a core each; None where no number within `most` is
    enough. alone_ms: of a request that meets nobody, the mean. batch_ms: of an example in full
    batches, without the gateway. service_error: of the times of batches that the fit left out."""

    run: str
    exits: str
    mode: str
    batch: int
    wait_ms: Amount
    rate: Amount
    p99_ms: Amount
    replicas: int | None
    p50_found_ms: Amount | None
    p99_found_ms: Amount | None
    busy: Amount | None
    mean_depth: Amount
    alone_ms: Amount
    batch_ms: Amount
    batch_size: int
    overhead_ms: Amount
    service_error: Amount
    checks: list[Check] = Field(default_factory=list)
    machine: str = ""
    commit: str = ""
    version: str = ""
    gateway: str = ""

    key = property(attrgetter(*KEY))

    @property
    def core_hours(self) -> float:
        """Core-hours of a billion texts in full batches, without a gateway."""
        return BILLION * self.batch_ms / 3.6e6


def table(rows: Sequence[CapacityRow], most: int, core_hour: float | None) -> str:
    """Lines for a person. most: replicas that were tried; core_hour: what one costs."""
    from pandas import DataFrame

    lines = []
    for row in rows:
        enough = row.replicas is not None
        line = {
            "": "adaptive" if row.exits == "own" else "static",
            "replicas": row.replicas if enough else f"over {most}",
            "busy": f"{100 * (row.busy or 0):.0f} %" if enough else "-",
            "p50 ms": f"{row.p50_found_ms:.1f}" if enough else "-",
            "p99 ms": f"{row.p99_found_ms:.1f}" if enough else "-",
            "depth": f"{row.mean_depth:.2f}",
            "ms alone": f"{row.alone_ms:.2f}",
            "ms in batches": f"{row.batch_ms:.2f}",
            "core-hours of a billion": f"{row.core_hours:,.0f}",
        }
        if core_hour is not None:
            line["cost"] = f"{core_hour * row.core_hours:,.0f}"
        lines.append(line)
    return DataFrame(lines).to_string(index=False)
