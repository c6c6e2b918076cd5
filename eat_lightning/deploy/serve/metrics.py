"""Metrics of the gateway: for Prometheus since its start, for the page over the latest answers."""

from __future__ import annotations

import time
from collections import Counter as Tally
from collections import deque
from functools import partial
from typing import Any

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from eat_lightning.deploy.serve.te_metrics import TeMetrics
from eat_lightning.deploy.serve.worker import Answer, Ask, Refused
from eat_lightning.monitor.watch import DRIFTED, OFF, STEADY

LAST = 1000  # answers that percentiles and the page look at
MILLISECONDS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000)
SECONDS = tuple(ms / 1000 for ms in MILLISECONDS)
QUANTILES = (0.01, 0.1, 0.5, 0.9, 0.99)
SHARES = tuple(i / 20 for i in range(1, 21))
RETENTION = "Tokens entering the last executed layer / tokens entering layer 1"


class Metrics:
    def __init__(self, num_layers: int):
        self.registry = CollectorRegistry()
        counter = partial(Counter, namespace="eat", registry=self.registry)
        histogram = partial(Histogram, namespace="eat", registry=self.registry)
        gauge = partial(Gauge, namespace="eat", registry=self.registry)
        self.requests = counter("requests", "Requests by path and status", ["path", "status"])
        self.answers = counter("answers", "Answers given", ["exit_reason", "label"])
        self.failed = counter("failed", "Examples accepted and not answered", ["status"])
        self.deaths = counter("worker_deaths", "Workers that died")
        self.reloads = counter("reloads", "Reloads by result", ["result"])
        self.alarms = counter("drift_alarms", "Alarms by the feature that moved", ["feature"])
        self.depth = histogram("depth", "Layers run", buckets=range(num_layers + 1))
        self.retention = histogram("retention", RETENTION, buckets=SHARES)
        self.latency = histogram("latency_seconds", "Accepted to answered", buckets=SECONDS)
        self.queued = histogram("queue_seconds", "Accepted to begun", buckets=SECONDS)
        last = f"Retention over the last {LAST} answers"
        self.percentile = gauge("retention_percentile", last, ["quantile"])
        self.length = gauge("queue_length", "Examples that wait")
        self.drift = gauge("drift_state", "1 for the state it is in", ["state"])
        self.drift_since = gauge("drift_since_seconds", "Unix time at which that state began")
        self.te = TeMetrics()
        self.last: deque[dict[str, Any]] = deque(maxlen=LAST)
        self.num_answers = 0
        self.began = time.time()

    def finished(self, ask: Ask, answer: Answer | Refused) -> None:
        """Count a worker's result, unless its request timed out, which `gave_up` has counted."""
        if ask.future.done():
            return
        if isinstance(answer, Refused):
            return self.gave_up(answer.status_code)
        now = time.monotonic()
        # An empty label is none to Prometheus: a regression has none.
        self.answers.labels(answer["exit_reason"], answer.get("label", "")).inc()
        self.depth.observe(answer["depth"])
        self.retention.observe(answer["retention"])
        self.latency.observe(now - ask.arrived)
        self.queued.observe((ask.begun or now) - ask.arrived)
        self.last.append({**answer, "latency_ms": (now - ask.arrived) * 1e3, "at": now})
        self.num_answers += 1

    def gave_up(self, status: int, num: int = 1) -> None:
        """Count accepted examples that get no answer."""
        if num:
            self.failed.labels(status).inc(num)

    def text(self, queue_length: int, drift: str, drift_since: float | None) -> bytes:
        """Return all metrics in Prometheus' format."""
        self.length.set(queue_length)
        self.te.queue_size.set(queue_length)
        for name in (OFF, STEADY, DRIFTED):
            self.drift.labels(name).set(name == drift)
        self.drift_since.set(drift_since or 0)
        if self.last:
            kept = [answer["retention"] for answer in self.last]
            for q, value in zip(QUANTILES, np.quantile(kept, QUANTILES), strict=True):
                self.percentile.labels(q).set(float(value))
        return generate_latest(self.registry) + generate_latest(self.te.registry)

    def snapshot(self) -> dict[str, Any]:
        """Return the latest answers for the page."""
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
