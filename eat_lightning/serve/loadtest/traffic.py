"""Two ways to ask: as fast as answers come, to find the capacity; and as a schedule says, whatever
comes back (open loop), so that a slow gateway does not slow down its own load."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from eat_lightning.serve.loadtest.client import Client

SPIN_S = 0.002  # a timer is no finer than a millisecond; the last stretch is waited for awake
BROKEN = 0  # the status of a request whose connection broke


@dataclass(frozen=True)
class Shot:
    """A request: seconds since the start when it was due, sent and answered; status, and layers
    run where there is an answer."""

    due: float
    sent: float
    ended: float
    status: int
    depth: int | None = None


def poisson(rate: float, seconds: float, seed: int) -> np.ndarray:
    """Times in [0, seconds) of arrivals that know nothing of one another."""
    rng = np.random.default_rng(seed)
    gaps = rng.exponential(1 / rate, size=int(2 * rate * seconds) + 100)
    times = gaps.cumsum()
    return times[times < seconds]


async def shoot(client: Client, request: bytes, due: float, start: float) -> Shot:
    sent = time.perf_counter() - start
    try:
        status, answer = await client.post(request)
    except (OSError, EOFError):
        return Shot(due, sent, time.perf_counter() - start, BROKEN)
    return Shot(due, sent, time.perf_counter() - start, status, answer.get("depth"))


async def open_loop(client: Client, requests: Sequence[bytes], times: np.ndarray) -> list[Shot]:
    """Each request at its time; returns when all have ended."""
    start = time.perf_counter()
    under_way = []
    for request, due in zip(requests, times.tolist(), strict=True):
        left = due - (time.perf_counter() - start)
        if left > SPIN_S:
            await asyncio.sleep(left - SPIN_S)
        while time.perf_counter() - start < due:
            await asyncio.sleep(0)
        under_way.append(asyncio.ensure_future(shoot(client, request, due, start)))
    return list(await asyncio.gather(*under_way))


async def closed_loop(
    client: Client, requests: Sequence[bytes], num_askers: int, seconds: float
) -> list[Shot]:
    """`num_askers` that each ask again when they are answered."""
    start, shots = time.perf_counter(), []

    async def ask(first: int) -> None:
        place = first
        while (now := time.perf_counter() - start) < seconds:
            shots.append(await shoot(client, requests[place % len(requests)], now, start))
            place += num_askers

    await asyncio.gather(*[ask(first) for first in range(num_askers)])
    return shots


def answered_rate(shots: Sequence[Shot], seconds: float) -> float:
    """Answers a second, of those that ended in time."""
    return sum(shot.status == 200 and shot.ended <= seconds for shot in shots) / seconds
