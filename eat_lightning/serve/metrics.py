"""What the gateway counts: for Prometheus since it started, for the page over the last answers."""

from __future__ import annotations

import time
from collections import Counter as Tally
from collections import deque
from typing import Any

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from eat_lightning.serve.monitors import DRIFTED, OFF, STEADY
from eat_lightning.serve.worker import Answer, Ask, Refused

LAST = 1000  # answers that percentiles and the page look at
MILLISECONDS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000)
SECONDS = tuple(ms / 1000 for ms in MILLISECONDS)
QUANTILES = (0.01, 0.1, 0.5, 0.9, 0.99)
SHARES = tuple(i / 20 for i in range(1, 21))
RETENTION = "Tokens entering the last executed layer / tokens entering layer 1"


class Metrics:
    def __init__(self, num_layers: int):
        self.registry = r = CollectorRegistry()
        layers = range(1, num_layers + 1)

        def counter(name: str, about: str, label: str) -> Counter:
            return Counter(name, about, label.split(), registry=r)

        def histogram(name: str, about: str, buckets: Any) -> Histogram:
            return Histogram(name, about, buckets=buckets, registry=r)

        def gauge(name: str, about: str, label: str = "") -> Gauge:
            return Gauge(name, about, label.split(), registry=r)

        self.requests = counter("eat_requests", "Requests by path and status", "path status")
        self.reasons = counter("eat_answers", "Answers by exit reason", "exit_reason")
        self.failed = counter("eat_failed", "Examples accepted and not answered", "status")
        self.reloads = counter("eat_reloads", "Reloads by result", "result")
        self.alarms = counter("eat_drift_alarms", "Alarms by the feature that moved", "feature")
        self.depth = histogram("eat_depth", "Layers run", layers)
        self.retention = histogram("eat_retention", RETENTION, SHARES)
        self.latency = histogram("eat_latency_seconds", "Accepted to answered", SECONDS)
        self.queued = histogram("eat_queue_seconds", "Accepted to begun", SECONDS)
        last = f"Retention over the last {LAST} answers"
        self.percentile = gauge("eat_retention_percentile", last, "quantile")
        self.length = gauge("eat_queue_length", "Examples that wait")
        self.deaths = gauge("eat_worker_deaths", "Workers that died")
        self.drift = gauge("eat_drift_state", "1 for the state it is in", "state")
        began = "Unix time at which that state began"
        self.drift_since = gauge("eat_drift_since_seconds", began)
        self.last: deque[dict[str, Any]] = deque(maxlen=LAST)
        self.num_answers = 0

    def settled(self, ask: Ask, answer: Answer | Refused) -> None:
        if isinstance(answer, Refused):
            self.failed.labels(answer.status_code).inc()
            return
        now = time.monotonic()
        self.reasons.labels(answer["exit_reason"]).inc()
        self.depth.observe(answer["depth"])
        self.retention.observe(answer["retention"])
        self.latency.observe(now - ask.arrived)
        self.queued.observe((ask.begun or now) - ask.arrived)
        self.last.append({**answer, "latency_ms": (now - ask.arrived) * 1e3, "at": now})
        self.num_answers += 1

    def set_drift(self, state: str, since: float | None) -> None:
        for name in (OFF, STEADY, DRIFTED):
            self.drift.labels(name).set(name == state)
        self.drift_since.set(since or 0)

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
        """The last answers, for the page."""
        last = list(self.last)
        taken_ms = [answer["latency_ms"] for answer in last]
        kept = [answer["retention"] for answer in last]
        return {
            "num_answers": self.num_answers,
            "num_last": len(last),
            "per_second": sum(answer["at"] > time.monotonic() - 10 for answer in last) / 10,
            "depth": Tally(answer["depth"] for answer in last),
            "exit_reason": Tally(answer["exit_reason"] for answer in last),
            "retention": np.histogram(kept, bins=10, range=(0, 1))[0].tolist(),
            "latency": np.histogram(taken_ms, bins=[0, *MILLISECONDS, np.inf])[0].tolist(),
            "latency_ms": percentiles(taken_ms),
            "retention_percentiles": percentiles(kept),
        }


def percentiles(values: list[float]) -> dict[str, float] | None:
    if not values:
        return None
    found = np.percentile(values, (1, 50, 90, 99)).round(4).tolist()
    return dict(zip(("p1", "p50", "p90", "p99"), found, strict=True))
