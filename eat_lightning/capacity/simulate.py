"""Requests, queues and replicas in time: the gateway's discipline (`serve/worker.py`) without the
gateway.

Each replica has a queue with a bound; it takes up to `size` requests, or those that are there when
the oldest has waited `wait_ms`, and leaves out whose deadline has passed. An answer is given when
its example leaves, and the next batch is taken when the last one has left. A replica knows of no
other, so each is brought up to date only when a request comes to it, or is about to.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from eat_lightning.capacity.service import Service


@dataclass(frozen=True)
class Discipline:
    """How each replica serves. overhead_ms: of a request on its core, beside the model. balance:
    how requests are given to replicas."""

    size: int
    wait_ms: float
    queue: int
    deadline_ms: float
    overhead_ms: float
    balance: str = "round_robin"


@dataclass(frozen=True)
class Outcome:
    """Latencies in ms of what was answered in time; shares of all requests that were refused or too
    late; the share of time that replicas were at work."""

    latency_ms: np.ndarray
    share_503: float
    share_504: float
    busy: float

    def percentile(self, share: float) -> float:
        """Infinite where as many got no answer."""
        lost = self.share_503 + self.share_504
        if lost > 0 and share > 100 * (1 - lost):
            return float("inf")
        return float(np.percentile(self.latency_ms, share)) if len(self.latency_ms) else np.inf


@dataclass
class Replica:
    """A queue, and a core that takes batches from it. waiting: arrival in ms, and the example, of
    each request. ratios: how much longer than predicted each batch takes. under_way: requests of
    the last batch, which is over at free_ms."""

    service: Service
    given: Discipline
    ratios: Iterator[float]
    waiting: deque[tuple[float, int]] = field(default_factory=deque)
    under_way: int = 0
    free_ms: float = 0.0
    worked_ms: float = 0.0
    latency_ms: list[float] = field(default_factory=list)
    num_503: int = 0
    num_504: int = 0

    def arrive(self, now: float, example: int) -> None:
        self.work(now)
        if len(self.waiting) < self.given.queue:
            self.waiting.append((now, example))
        else:
            self.num_503 += 1

    def load(self, now: float) -> int:
        """Requests that wait or are under way."""
        self.work(now)
        return len(self.waiting) + (self.under_way if now < self.free_ms else 0)

    def work(self, until: float) -> None:
        """Take all batches that begin by then."""
        waiting, size = self.waiting, self.given.size
        while waiting:
            full = len(waiting) >= size
            due = waiting[size - 1][0] if full else waiting[0][0] + self.given.wait_ms
            start = max(due, self.free_ms)
            if start > until:
                return
            taken = [waiting.popleft() for _ in range(min(size, len(waiting)))]
            wanted = [ask for ask in taken if start < ask[0] + self.given.deadline_ms]
            self.num_504 += len(taken) - len(wanted)
            self.free_ms = start
            if wanted:
                self.answer(wanted)

    def answer(self, asks: list[tuple[float, int]]) -> None:
        """Begin a batch when the last one is over."""
        times_B, model_ms = self.service.times(np.array([example for _, example in asks]))
        unrest, beside = next(self.ratios), self.given.overhead_ms * len(asks)
        for (arrived, _), time in zip(asks, times_B.tolist(), strict=True):
            latency = self.free_ms + beside + time * unrest - arrived
            if latency <= self.given.deadline_ms:
                self.latency_ms.append(latency)
            else:
                self.num_504 += 1
        whole = beside + model_ms * unrest
        self.under_way, self.worked_ms = len(asks), self.worked_ms + whole
        self.free_ms += whole


def poisson_ms(rate: float, num: int, rng: np.random.Generator) -> np.ndarray:
    """Arrivals that know nothing of one another. rate: a second."""
    return rng.exponential(1000 / rate, size=num).cumsum()


def simulated(
    service: Service,
    arrivals_ms: np.ndarray,
    replicas: int,
    given: Discipline,
    seed: int = 0,
    examples: np.ndarray | None = None,
) -> Outcome:
    """Answer examples of the service's population that arrive at these times; None: random ones."""
    rng, num = np.random.default_rng(seed), len(arrivals_ms)
    if examples is None:
        examples = rng.integers(len(service.ways.depth_I), size=num)
    ratios = iter(rng.choice(service.ratios, num).tolist())
    fleet = [Replica(service, given, ratios) for _ in range(replicas)]
    for turn, now in enumerate(arrivals_ms.tolist()):
        chosen(fleet, given.balance, turn, now, rng).arrive(now, int(examples[turn]))
    for replica in fleet:
        replica.work(np.inf)
    return Outcome(
        np.concatenate([replica.latency_ms for replica in fleet]),
        sum(replica.num_503 for replica in fleet) / num,
        sum(replica.num_504 for replica in fleet) / num,
        sum(replica.worked_ms for replica in fleet)
        / (replicas * max(arrivals_ms[-1], *(replica.free_ms for replica in fleet))),
    )


def chosen(
    fleet: list[Replica], balance: str, turn: int, now: float, rng: np.random.Generator
) -> Replica:
    """Whose the next request is."""
    match balance:
        case "round_robin":
            return fleet[turn % len(fleet)]
        case "random":
            return fleet[rng.integers(len(fleet))]
        case _:  # the shorter of two queues, as Ray Serve's router
            pair = rng.integers(len(fleet), size=2)
            return min((fleet[i] for i in pair), key=lambda replica: replica.load(now))
