"""Real gateways, a core each, for what a simulation cannot know: what a request costs beside the
model, and how far the simulation is off."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from eat_lightning.capacity.plan import CapacityPlan
from eat_lightning.errors import ConfigError
from eat_lightning.overrides import quoted
from eat_lightning.serve.loadtest.subject import gateway
from eat_lightning.serve.loadtest.traffic import (
    DRAWN,
    Client,
    Shot,
    answered_rate,
    closed_loop,
    kept_busy,
    open_loop,
)

WARM_S = 2.0


class Several(Client):
    """The clients of several gateways, each asked in its turn."""

    def __init__(self, clients: Sequence[Client]):
        self.clients, self.turn = list(clients), 0

    def request(self, content: object) -> bytes:
        return self.clients[0].request(content)

    async def post(self, request: bytes) -> tuple[int, dict]:
        self.turn = (self.turn + 1) % len(self.clients)
        return await self.clients[self.turn].post(request)

    def close(self) -> None:
        for client in self.clients:
            client.close()


@contextmanager
def replicas(plan: CapacityPlan, count: int, static: bool) -> Iterator[tuple[Client, list[int]]]:
    """So many gateways, each kept on a core; a client of all of them, and their processes. Whoever
    asks them is on the other cores, where there are some."""
    there = sorted(os.sched_getaffinity(0))
    if count > len(there):
        raise ConfigError(f"check must be at most {len(there)}, the cores that there are")
    overrides = [f"run={quoted(plan.run)}", *plan.gateway(static)]
    with ExitStack() as stack:
        found, before = [], children()
        for core in there[:count]:
            host, port = stack.enter_context(gateway(overrides, core))
            found.append(Client(host, port, plan.deadline_ms))
        if others := there[count:]:
            os.sched_setaffinity(0, others)
        try:
            yield Several(found), sorted(children() - before)
        finally:
            os.sched_setaffinity(0, there)


def children(of: int | None = None) -> set[int]:
    """A process' children and theirs."""
    tasks = Path(f"/proc/{of or os.getpid()}/task")
    try:
        lists = [(task / "children").read_text().split() for task in tasks.iterdir()]
    except OSError:
        return set()
    own = {int(pid) for pids in lists for pid in pids}
    return own.union(*(children(pid) for pid in own))


def cpu_s(pids: Sequence[int]) -> float:
    """Processor seconds of these so far."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def request_ms(plan: CapacityPlan, examples: Sequence[dict[str, str]]) -> float:
    """Processor time of a request to an adaptive gateway that is kept busy, model included."""
    load = {"size": plan.examples_at_once, "seconds": plan.seconds, "seed": plan.seed}

    async def busy(client: Client, pids: Sequence[int]) -> float:
        await kept_busy(client, examples, **load)  # what starts has started
        before = cpu_s(pids)
        shots = await kept_busy(client, examples, **load)
        client.close()
        answered = sum(shot.status == 200 for shot in shots)
        if not answered:
            raise ConfigError(f"no answer within seconds={plan.seconds:g}: give it more")
        return 1000 * (cpu_s(pids) - before) / answered

    with replicas(plan, 1, static=False) as (client, pids):
        return asyncio.run(busy(client, pids))


@dataclass(frozen=True)
class Loaded:
    """Load that was put on replicas. rps: answers a second of those that are kept busy. shots: of
    arrivals. busy_ms, open_ms: processor time of whoever asks, for a request, in either."""

    rps: float
    shots: list[Shot]
    busy_ms: float
    open_ms: float


def loaded(
    plan: CapacityPlan,
    examples: Sequence[dict[str, str]],
    count: int,
    due_s: np.ndarray,
    chosen: np.ndarray,
    static: bool,
) -> Loaded:
    """Keep so many replicas busy, then let requests arrive. due_s: when, in seconds; chosen: for
    which of the examples."""

    async def both(client: Client) -> Loaded:
        await closed_loop(client, client.drawn(examples, DRAWN, plan.seed), count, WARM_S)
        before = time.process_time()
        busy = await kept_busy(
            client, examples, plan.examples_at_once, plan.seconds, plan.seed, count
        )
        between = time.process_time()
        requests = [client.request(examples[i]) for i in chosen]
        begun = time.process_time()
        shots = await open_loop(client, requests, due_s)
        ended = time.process_time()
        client.close()
        rps = answered_rate(busy, plan.seconds)
        busy_ms = 1000 * (between - before) / max(1, len(busy))
        return Loaded(rps, shots, busy_ms, 1000 * (ended - begun) / max(1, len(shots)))

    with replicas(plan, count, static) as (client, _):
        return asyncio.run(both(client))
