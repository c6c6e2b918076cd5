"""What the gateway counts: for Prometheus since it started, for the page over the last answers."""

from __future__ import annotations

import time
from collections import Counter as Tally
from collections import deque
from typing import Any

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from eat_lightning.serve.refused import Refused
from eat_lightning.serve.waiting import Ask

LAST = 1000  # answers that percentiles and the page look at
MILLISECONDS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000)
QUANTILES = (0.01, 0.1, 0.5, 0.9, 0.99)
SHARES = tuple(i / 20 for i in range(1, 21))
DRIFT = ("off", "steady", "drifted")


class Meters:
    def __init__(self, num_layers: int):
        self.registry = registry = CollectorRegistry()
        self.requests = Counter(
            "eat_requests", "Requests by path and status", ["path", "status"], registry=registry
        )
        self.reasons = Counter(
            "eat_answers", "Answers by exit reason", ["exit_reason"], registry=registry
        )
        layers = range(1, num_layers + 1)
        self.depth = Histogram("eat_depth", "Layers run", buckets=layers, registry=registry)
        self.retention = Histogram(
            "eat_retention",
            "Tokens entering the last executed layer / tokens entering layer 1",
            buckets=SHARES,
            registry=registry,
        )
        self.percentile = Gauge(
            "eat_retention_percentile",
            f"Retention over the last {LAST} answers",
            ["quantile"],
            registry=registry,
        )
        seconds = [ms / 1000 for ms in MILLISECONDS]
        self.latency = Histogram(
            "eat_latency_seconds", "Accepted to answered", buckets=seconds, registry=registry
        )
        self.queued = Histogram(
            "eat_queue_seconds", "Accepted to begun", buckets=seconds, registry=registry
        )
        self.failed = Counter(
            "eat_failed", "Examples accepted and not answered", ["status"], registry=registry
        )
        self.length = Gauge("eat_queue_length", "Examples that wait", registry=registry)
        self.deaths = Gauge("eat_worker_deaths", "Workers that died", registry=registry)
        self.reloads = Counter("eat_reloads", "Reloads by result", ["result"], registry=registry)
        self.drift = Gauge(
            "eat_drift_state", "1 for the state it is in", ["state"], registry=registry
        )
        self.drift_since = Gauge(
            "eat_drift_since_seconds", "Unix time at which that state began", registry=registry
        )
        self.alarms = Counter(
            "eat_drift_alarms", "Alarms by the feature that moved", ["feature"], registry=registry
        )
        self.say_drift("off")
        self.last: deque[dict[str, Any]] = deque(maxlen=LAST)
        self.num_answers = 0

    def answered(self, ask: Ask, answer: dict[str, Any] | Refused) -> None:
        if isinstance(answer, Refused):
            self.failed.labels(answer.status).inc()
            return
        self.reasons.labels(answer["exit_reason"]).inc()
        self.depth.observe(answer["depth"])
        self.retention.observe(answer["retention"])
        now = time.monotonic()
        self.latency.observe(now - ask.arrived)
        self.queued.observe((ask.begun or now) - ask.arrived)
        latency_ms = (now - ask.arrived) * 1e3
        self.last.append({**answer, "latency_ms": latency_ms, "at": now})
        self.num_answers += 1

    def say_drift(self, state: str, since: float | None = None) -> None:
        for name in DRIFT:
            self.drift.labels(name).set(name == state)
        self.drift_since.set(since or 0)
        self.drift_state = state

    def text(self, queue_length: int, deaths: int) -> bytes:
        """In Prometheus' format."""
        self.length.set(queue_length)
        self.deaths.set(deaths)
        if self.last:
            kept = [answer["retention"] for answer in self.last]
            for q, value in zip(QUANTILES, np.quantile(kept, QUANTILES), strict=True):
                self.percentile.labels(q).set(float(value))
        return generate_latest(self.registry)

    def snapshot(self) -> dict[str, Any]:
        """Of the last answers, for the page."""
        last = list(self.last)
        taken_ms = [answer["latency_ms"] for answer in last]
        kept = [answer["retention"] for answer in last]
        recent = sum(answer["at"] > time.monotonic() - 10 for answer in last)
        bins = np.histogram(kept, bins=10, range=(0, 1))[0].tolist()
        times = np.histogram(taken_ms, bins=[0, *MILLISECONDS, np.inf])[0].tolist()
        return {
            "num_answers": self.num_answers,
            "num_last": len(last),
            "per_second": recent / 10,
            "depth": dict(Tally(answer["depth"] for answer in last)),
            "exit_reason": dict(Tally(answer["exit_reason"] for answer in last)),
            "retention": bins,
            "latency": times,
            "latency_ms": percentiles(taken_ms),
            "retention_percentiles": percentiles(kept),
            "drift": self.drift_state,
        }


def percentiles(values: list[float]) -> dict[str, float] | None:
    if not values:
        return None
    found = np.percentile(values, (1, 50, 90, 99)).round(4).tolist()
    return dict(zip(("p1", "p50", "p90", "p99"), found, strict=True))
