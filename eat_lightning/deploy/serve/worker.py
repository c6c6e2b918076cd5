"""Worker between queue and model: takes batches, and returns each answer when its example exits.

Everything runs in the event loop, except the model's stream, which has its own thread.
"""

from __future__ import annotations

import asyncio
import sys
import time
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from fastapi import HTTPException

from eat_lightning.deploy.serve.body import RequestExample
from eat_lightning.deploy.serve.model import AnswerScores
from eat_lightning.deploy.serve.plan import ServeSettings
from eat_lightning.deploy.serve.remote import Remote, WorkerDied
from eat_lightning.text_io import refusal

KILL_S = 5  # for a killed model's last batch to end
FOREVER_S = 3600.0  # an empty queue is looked at again
Answer = dict[str, Any]


class Refused(HTTPException):
    """A refusal: HTTP status, a one-line reason, and optionally the seconds until a retry."""

    def __init__(self, status: int, reason: str, retry_after: int | None = None):
        headers = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
        if retry_after is not None:
            headers["Retry-After"] = str(retry_after)
        super().__init__(status, reason, headers)


class QueueFull(Refused):
    """Refusal of a request because the queue is full; other servers use another status for it."""

    def __init__(self, reason: str, retry_after: int):
        super().__init__(503, reason, retry_after)


@dataclass(eq=False)
class Ask:
    """An example that waits for its answer.

    Args:
        deadline: in `time.monotonic()`.
        future: cancelled when its client no longer waits.
    """

    example: RequestExample
    deadline: float
    future: asyncio.Future[Answer | Refused] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )
    arrived: float = field(default_factory=time.monotonic)
    begun: float | None = None
    ended: float | None = None
    scores: AnswerScores | None = None  # once it is answered

    @property
    def queued_s(self) -> float:
        return (self.begun or self.arrived) - self.arrived

    @property
    def inference_s(self) -> float:
        return (self.ended or self.arrived) - (self.begun or self.arrived)


class Queue:
    """Queue of at most `bound` examples in order, without cancelled ones.

    They are taken `size` at a time, or fewer once the oldest has waited `wait_s`.
    """

    def __init__(self, bound: int, size: int, wait_s: float):
        self.bound, self.size, self.wait_s = bound, size, wait_s
        self.asks = deque[Ask]()
        self.changed, self.closed = asyncio.Event(), False

    def __len__(self) -> int:
        return len(self.asks)

    def put(self, asks: list[Ask]) -> bool:
        """Enqueue all or none; returns True on success."""
        if self.closed or len(self.asks) + len(asks) > self.bound:
            return False
        self.asks.extend(asks)
        self.changed.set()
        return True

    def drop_done(self) -> None:
        """Free the room of cancelled examples immediately."""
        self.asks = deque(ask for ask in self.asks if not ask.future.done())

    async def take(self) -> list[Ask]:
        """Wait for the next batch. Returns [] once the queue is closed and empty."""
        while self.asks or not self.closed:
            self.changed.clear()
            if self.seconds_left > 0:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self.changed.wait(), self.seconds_left)
                continue
            taken = [self.asks.popleft() for _ in range(min(self.size, len(self.asks)))]
            now = time.monotonic()
            if wanted := [a for a in taken if not a.future.done() and now < a.deadline]:
                return wanted
        return []

    @property
    def seconds_left(self) -> float:
        """Seconds until the next batch is due."""
        if not self.asks:
            return FOREVER_S
        if self.closed or len(self.asks) >= self.size:
            return 0
        return self.asks[0].arrived + self.wait_s - time.monotonic()

    def close(self) -> None:
        """Accept nothing more; queued examples are still returned."""
        self.closed = True
        self.changed.set()


@dataclass(eq=False)
class Worker:
    """Runs batches on the model.

    If the model fails on a batch, each of its examples is tried alone, so that one cannot fail the
    others. If the model's process dies, or exceeds `stuck_s` and is killed, its batch is refused
    and `revive` starts another process. Refused examples are not retried, because they may be the
    cause.

    Args:
        finished: receives answers and refusals.
        batched: receives each batch that was answered.
        died: called for each death.
    """

    model: Remote
    queue: Queue
    plan: ServeSettings
    finished: Callable[[Sequence[tuple[Ask, Answer | Refused]]], None]
    revive: Callable[[], Remote]
    deep: Callable[[], bool]
    batched: Callable[[Sequence[Ask]], None]
    died: Callable[[], None]
    seconds_each: float = 0.005  # of an example; a moving mean
    is_up: bool = True

    def __post_init__(self) -> None:
        self.lock = asyncio.Lock()  # held while a batch runs: no model is closed or swapped in it
        self.thread = ThreadPoolExecutor(1, "model")

    def start(self) -> None:
        """Start in the event loop."""
        self.task = asyncio.ensure_future(self.run())

    async def run(self) -> None:
        while asks := await self.queue.take():
            async with self.lock:
                try:
                    await self.replace_dead()
                    await self.answer_all(asks)
                except Exception:  # a fault of ours: its batch is told, the next one goes on
                    traceback.print_exc()
                    self.refuse(asks, Refused(500, "the gateway failed on this; see its log"))

    async def answer_all(self, asks: list[Ask]) -> None:
        start = time.monotonic()
        for ask in asks:
            ask.begun = start
        try:
            await self.answer(asks)
        except WorkerDied as error:
            self.refuse(asks, Refused(503, "the worker died with this request", 1))
            await self.replace(error)
        else:
            self.batched(asks)
            taken_s = (time.monotonic() - start) / len(asks)
            self.seconds_each += 0.1 * (taken_s - self.seconds_each)

    async def answer(self, asks: list[Ask]) -> None:
        try:
            await self.stream(asks)
        except WorkerDied:
            raise
        except Exception:
            traceback.print_exc()
            if len(asks) == 1:
                self.refuse(asks, Refused(500, "the model failed on this example"))
                return
            for ask in asks:
                if not ask.future.done():
                    await self.answer([ask])

    async def stream(self, asks: list[Ask]) -> None:
        """Deliver each chunk of answers as it arrives. A model that hangs is killed."""
        loop = asyncio.get_running_loop()
        examples, deep = [ask.example for ask in asks], self.deep()

        def chunks() -> None:
            for places, answers in self.model.stream(examples, deep):
                pairs = [
                    (asks[i], Refused(413, why) if (why := refusal(answer)) else answer)
                    for i, answer in zip(places, answers, strict=True)
                ]
                loop.call_soon_threadsafe(self.finish, pairs)

        streaming = loop.run_in_executor(self.thread, chunks)
        _, stuck = await asyncio.wait({streaming}, timeout=self.plan.stuck_s)
        if stuck:
            self.model.kill()
        await streaming

    def refuse(self, asks: list[Ask], why: Refused) -> None:
        self.finish([(ask, why) for ask in asks if not ask.future.done()])

    def finish(self, pairs: Sequence[tuple[Ask, Answer | Refused]]) -> None:
        try:
            self.finished(pairs)  # first: it takes out what is not for clients
        finally:
            for ask, answer in pairs:
                if ask.future.done():  # who asked gave up
                    continue
                ask.ended = time.monotonic()
                if not isinstance(answer, Refused):
                    answer["latency_ms"] = round((ask.ended - ask.arrived) * 1e3, 3)
                ask.future.set_result(answer)

    async def check(self) -> None:
        """Replace a model that died while idle."""
        if not self.lock.locked() and not self.queue.closed:
            async with self.lock:
                await self.replace_dead()

    async def replace_dead(self) -> None:
        if not self.model.is_alive():
            await self.replace("the worker died")

    async def replace(self, why: object) -> None:
        """Retry until a new model starts. Meanwhile the queue is bounded."""
        print(f"{why}: starting another", file=sys.stderr, flush=True)
        self.died()
        self.is_up = False
        await asyncio.to_thread(self.model.close)
        while self.queue.asks or not self.queue.closed:
            try:
                self.model = await asyncio.to_thread(self.revive)
                self.is_up = True
                return
            except Exception as error:
                print(f"the worker does not start: {error}", file=sys.stderr, flush=True)
                await asyncio.sleep(1)

    async def swap(self, model: Remote) -> None:
        """Replace the model once the current batch is done."""
        async with self.lock:
            old, self.model = self.model, model
        await asyncio.to_thread(old.close)

    async def stop(self) -> None:
        """Stop once all queued examples are answered, or after `stop_s`."""
        self.queue.close()
        _, late = await asyncio.wait({self.task}, timeout=self.plan.stop_s)
        if late:
            self.queue.asks.clear()
            self.model.kill()
            await asyncio.wait({self.task}, timeout=KILL_S)
        await asyncio.to_thread(self.model.close)
        self.thread.shutdown(wait=False)
