"""Metrics under the names of text-embeddings-inference, so that its dashboards and alerts work with
this gateway. They count requests of all routes except streamed ones.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from prometheus_client import CollectorRegistry, Gauge, Histogram

from eat_lightning.deploy.serve.worker import Ask, Refused

SECONDS = [1.5**i / 1e5 for i in range(1, 36)]
SIZES = [2**i for i in range(13)]
TOKENS = [2**i for i in range(21)]
FAILURES = {413: "validation", 422: "validation", 424: "inference", 500: "inference"}


class TeMetrics:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        gauge = partial(Gauge, namespace="te", registry=self.registry)
        counter = gauge  # a Counter's name would end in _total, which it does not there
        histogram = partial(Histogram, namespace="te", registry=self.registry)
        seconds = partial(histogram, buckets=SECONDS)
        self.count = counter("request_count", "Requests", ["method"])
        self.success = counter("request_success", "Requests answered", ["method"])
        self.failure = counter("request_failure", "Requests refused", ["err"])
        self.predict_count = counter("predict_count", "Examples")
        self.predict_success = counter("predict_success", "Examples answered")
        self.duration = seconds("request_duration", "Seconds of a request")
        self.queued = seconds("request_queue_duration", "Seconds in the queue")
        self.inference = seconds("request_inference_duration", "Seconds in the model")
        self.queue_size = gauge("queue_size", "Examples that wait")
        self.next_size = histogram("batch_next_size", "Examples of a batch", buckets=SIZES)
        self.next_tokens = histogram("batch_next_tokens", "Tokens of a batch", buckets=TOKENS)

    @contextmanager
    def request(self, num_examples: int) -> Iterator[list[Ask]]:
        """Count a request, and its examples where they are queued and answered."""
        start, asks = time.monotonic(), list[Ask]()
        method = "single" if num_examples == 1 else "batch"
        self.count.labels(method).inc()
        self.predict_count.inc(num_examples)
        try:
            yield asks
        except Refused as refused:
            self.failure.labels(FAILURES.get(refused.status_code, "overloaded")).inc()
            raise
        self.success.labels(method).inc()
        self.predict_success.inc(num_examples)
        self.duration.observe(time.monotonic() - start)
        self.queued.observe(sum(ask.queued_s for ask in asks) / len(asks))
        self.inference.observe(sum(ask.inference_s for ask in asks) / len(asks))

    def batched(self, asks: Sequence[Ask]) -> None:
        """Count a batch answered by the model."""
        self.next_size.observe(len(asks))
        self.next_tokens.observe(sum(ask.scores.num_tokens for ask in asks if ask.scores))
