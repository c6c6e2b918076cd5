"""Requests, queues and replicas as events in time: the gateway's discipline (`serve/worker.py`)
without the gateway.

Each replica has a queue with a bound; it takes up to `size` requests, or those that are there when
the oldest has waited `wait_ms`, and leaves out whose deadline has passed. An answer is given when
its example leaves, and the next batch is taken when the last one has left.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

import numpy as np

from eat_lightning.capacity.service import Service

UNREST = 1 << 12  # ratios drawn at once


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
    """waiting: arrival in ms, and the example, of each request."""

    waiting: deque[tuple[float, int]] = field(default_factory=deque)
    at_work: bool = False
    under_way: int = 0
    worked_ms: float = 0.0

    @property
    def load(self) -> int:
        return len(self.waiting) + self.under_way


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
    rng = np.random.default_rng(seed)
    if examples is None:
        examples = rng.integers(len(service.ways.depth_I), size=len(arrivals_ms))
    run = Simulation(service, given, [Replica() for _ in range(replicas)], rng)
    return run.over(arrivals_ms.tolist(), examples.tolist())


class Simulation:
    """events: when, in which order, and what happens then."""

    def __init__(
        self, service: Service, given: Discipline, replicas: list[Replica], rng: np.random.Generator
    ):
        self.service, self.given, self.replicas, self.rng = service, given, replicas, rng
        self.events: list[tuple[float, int, Callable[[float], None]]] = []
        self.order, self.turn = count(), 0
        self.latency_ms: list[float] = []
        self.num_503 = self.num_504 = 0
        self.unrest: list[float] = []

    def over(self, arrivals_ms: list[float], examples: list[int]) -> Outcome:
        now, coming = 0.0, 0
        while self.events or coming < len(arrivals_ms):
            arrival = arrivals_ms[coming] if coming < len(arrivals_ms) else np.inf
            if self.events and self.events[0][0] <= arrival:
                now, _, happens = heapq.heappop(self.events)
                happens(now)
            else:
                now = arrival
                self.arrive(now, examples[coming])
                coming += 1
        whole = max(1, len(arrivals_ms))
        busy = sum(replica.worked_ms for replica in self.replicas) / (now * len(self.replicas))
        lost = self.num_503 / whole, self.num_504 / whole
        return Outcome(np.array(self.latency_ms), *lost, busy)

    def at(self, when: float, happens: Callable[[float], None]) -> None:
        heapq.heappush(self.events, (when, next(self.order), happens))

    def arrive(self, now: float, example: int) -> None:
        replica = self.chosen()
        if len(replica.waiting) >= self.given.queue:
            self.num_503 += 1
            return
        replica.waiting.append((now, example))
        self.look(now, replica)

    def chosen(self) -> Replica:
        match self.given.balance:
            case "round_robin":
                self.turn = (self.turn + 1) % len(self.replicas)
                return self.replicas[self.turn]
            case "random":
                return self.replicas[self.rng.integers(len(self.replicas))]
            case _:  # the shorter of two queues, as Ray Serve's router
                pair = self.rng.integers(len(self.replicas), size=2)
                return min((self.replicas[i] for i in pair), key=lambda replica: replica.load)

    def look(self, now: float, replica: Replica) -> None:
        """Take a batch, if there is one to be taken."""
        waiting, given = replica.waiting, self.given
        while waiting and not replica.at_work:
            due = now if len(waiting) >= given.size else waiting[0][0] + given.wait_ms
            if given.size > 1 and due > now:
                self.at(due, lambda when: self.look(when, replica))
                return
            taken = [waiting.popleft() for _ in range(min(given.size, len(waiting)))]
            wanted = [ask for ask in taken if now < ask[0] + given.deadline_ms]
            self.num_504 += len(taken) - len(wanted)
            if wanted:
                self.answer(now, replica, wanted)

    def answer(self, now: float, replica: Replica, asks: list[tuple[float, int]]) -> None:
        times_B, model_ms = self.service.times(np.array([example for _, example in asks]))
        unrest, beside = self.ratio(), self.given.overhead_ms * len(asks)
        for (arrived, _), time in zip(asks, times_B.tolist(), strict=True):
            latency = now + beside + time * unrest - arrived
            if latency <= self.given.deadline_ms:
                self.latency_ms.append(latency)
            else:
                self.num_504 += 1
        whole = beside + model_ms * unrest
        replica.at_work, replica.under_way = True, len(asks)
        replica.worked_ms += whole
        self.at(now + whole, lambda when: self.end(when, replica))

    def end(self, now: float, replica: Replica) -> None:
        replica.at_work, replica.under_way = False, 0
        self.look(now, replica)

    def ratio(self) -> float:
        """How much longer than predicted a batch takes this time."""
        if not self.unrest:
            self.unrest = self.rng.choice(self.service.ratios, UNREST).tolist()
        return self.unrest.pop()
