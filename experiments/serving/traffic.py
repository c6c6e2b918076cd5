"""Requests to a gateway, and what their answers took.

In a closed loop, clients ask again when they are answered, which gives the capacity. In an open
loop, requests go out on schedule whatever comes back, so a slow gateway does not slow down its own
load.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

DRAWN = 2000  # requests that a gateway is kept busy with, by turns
SPIN_S = 0.002  # a timer is no finer than a millisecond; the last stretch is waited for awake
BROKEN = 0  # the status of a request whose connection broke


@dataclass(frozen=True)
class Client:
    """HTTP on kept connections, one request at a time on each. It is cheap enough that the gateway
    is what is measured, which a general client is not."""

    host: str
    port: int
    deadline_ms: float
    path: str = "/classify"
    idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = field(
        default_factory=list, init=False
    )

    def request(self, content: Any) -> bytes:
        body = json.dumps(content).encode()
        head = (
            f"POST {self.path} HTTP/1.1\r\nHost: {self.host}\r\nContent-Type: application/json\r\n"
            f"X-Deadline-Ms: {self.deadline_ms}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body

    def drawn(self, examples: Sequence[Any], count: int, seed: int) -> list[bytes]:
        """Requests for examples at random."""
        rng = np.random.default_rng(seed)
        return [self.request(examples[i]) for i in rng.integers(len(examples), size=count)]

    async def post(self, request: bytes) -> tuple[int, Any]:
        """Status and answer. OSError or EOFError where the connection broke."""
        if self.idle:
            reader, writer = self.idle.pop()
        else:
            reader, writer = await asyncio.open_connection(self.host, self.port)
        try:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            body = await reader.readexactly(length)
        except BaseException:
            writer.close()
            raise
        self.idle.append((reader, writer))
        return int(head[9:12]), json.loads(body)

    def close(self) -> None:
        while self.idle:
            self.idle.pop()[1].close()


@dataclass(frozen=True)
class Shot:
    """A request: seconds since the start when it was due, sent and answered; status, and layers
    run where there is an answer."""

    due: float
    sent: float
    ended: float
    status: int
    depth: int | None = None


async def shoot(client: Client, request: bytes, due: float, start: float) -> Shot:
    sent = time.perf_counter() - start
    try:
        status, answer = await client.post(request)
    except (OSError, EOFError):
        status, answer = BROKEN, {}
    depth = answer.get("depth") if isinstance(answer, dict) else None
    return Shot(due, sent, time.perf_counter() - start, status, depth)


def poisson(rate: float, seconds: float, seed: int) -> np.ndarray:
    """Times of independent arrivals in [0, seconds)."""
    rng = np.random.default_rng(seed)
    times = rng.exponential(1 / rate, size=int(2 * rate * seconds) + 100).cumsum()
    return times[times < seconds]


async def open_loop(client: Client, requests: Sequence[bytes], times: np.ndarray) -> list[Shot]:
    """The shots of requests that are sent at their times, when all have ended."""
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
    """Have `num_askers` each ask again when they are answered."""
    start, shots = time.perf_counter(), []

    async def ask(first: int) -> None:
        place = first
        while (now := time.perf_counter() - start) < seconds:
            shots.append(await shoot(client, requests[place % len(requests)], now, start))
            place += num_askers

    await asyncio.gather(*[ask(first) for first in range(num_askers)])
    return shots


async def kept_busy(
    client: Client, examples: Sequence[Any], size: int, seconds: float, seed: int
) -> list[Shot]:
    """Keep a gateway that answers `size` examples at once busy: each client waits for an answer."""
    askers = 4 if size == 1 else 2 * size
    return await closed_loop(client, client.drawn(examples, DRAWN, seed), askers, seconds)


def answered_rate(shots: Sequence[Shot], seconds: float) -> float:
    """Answers a second, of those that ended in time."""
    return sum(shot.status == 200 and shot.ended <= seconds for shot in shots) / seconds


def measured(shots: Sequence[Shot], seconds: float) -> dict[str, Any]:
    """Rates, shares of statuses, and latencies of what was answered, in ms from when it was due.

    Raises ValueError where nothing was answered.
    """
    good = [shot for shot in shots if shot.status == 200]
    if not good:
        raise ValueError(f"none of {len(shots)} requests was answered")
    taken_ms = [1e3 * (shot.ended - shot.due) for shot in good]
    found = np.percentile(taken_ms, (50, 90, 99, 100)).tolist()
    late_p99 = float(np.percentile([1e3 * (shot.sent - shot.due) for shot in shots], 99))
    num_503, num_504 = (sum(shot.status == status for shot in shots) for status in (503, 504))
    return dict(zip(("p50_ms", "p90_ms", "p99_ms", "max_ms"), found, strict=True)) | {
        "num_sent": len(shots),
        "num_answered": len(good),
        "num_other": len(shots) - len(good) - num_503 - num_504,
        "rps": len(good) / max(seconds, *(shot.ended for shot in shots)),
        "share_503": num_503 / len(shots),
        "share_504": num_504 / len(shots),
        "mean_depth": float(np.mean([shot.depth for shot in good if shot.depth is not None])),
        "late_p99_ms": max(0.0, late_p99),
    }
