"""Jobs: accepted once they are on the disk, answered whatever dies, fetched by their id."""

from __future__ import annotations

import asyncio
import math
import sqlite3
import time
import uuid
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from eat_lightning.serve.journal import Job, Journal
from eat_lightning.serve.question import Example
from eat_lightning.serve.refused import Refused
from eat_lightning.serve.waiting import Ask, Waiting

MAX_TRIES = 3  # then it is the job that kills
FORGET_S = 3600  # between two deletions of old answers
GAVE_UP = {"error": f"given up: begun {MAX_TRIES} times and never finished"}


class Jobs:
    """Writes to the journal in groups, one fsync for all that came meanwhile, and feeds the queue
    beside the requests with at most `ahead` examples. `bound`: jobs that may wait."""

    def __init__(self, journal: Journal, waiting: Waiting, ahead: int, bound: int, keep_s: float):
        self.journal, self.waiting = journal, waiting
        self.ahead, self.bound, self.keep_s = ahead, bound, keep_s
        self.todo: deque[Job] = deque(journal.waiting())
        self.running: set[asyncio.Task[None]] = set()
        self.alone = False  # one that was begun before runs, and must not take others with it
        self.num_ahead = 0  # examples in the queue or at work
        self.disk = ThreadPoolExecutor(1, "journal")
        self.unwritten: list[tuple[str, Any, asyncio.Future[None]]] = []
        self.to_write, self.to_feed = asyncio.Event(), asyncio.Event()
        self.to_feed.set()
        self.tasks = [asyncio.ensure_future(part) for part in (self.write(), self.feed())]

    @property
    def num_waiting(self) -> int:
        return len(self.todo) + len(self.running)

    async def post(self, examples: list[Example]) -> str:
        """The id of a job that is on the disk. Refused: 503 where too many wait."""
        if self.num_waiting + len(self.unwritten) >= self.bound:
            raise Refused(503, f"too many jobs wait ({self.bound})", max(1, self.bound // 100))
        job = Job(uuid.uuid4().hex, examples)
        await self.written("accepted", job)
        self.todo.append(job)
        self.to_feed.set()
        return job.id

    async def find(self, id: str) -> list[Any] | None:
        """Its answers, None while it waits; Refused where there is no such job."""
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self.disk, self.journal.answers, id)
        except KeyError:
            raise Refused(404, "there is no such job") from None

    async def written(self, what: str, value: Any) -> None:
        future = asyncio.get_running_loop().create_future()
        self.unwritten.append((what, value, future))
        self.to_write.set()
        await future

    async def write(self) -> None:
        loop, forgot = asyncio.get_running_loop(), -math.inf
        while True:
            await self.to_write.wait()
            self.to_write.clear()
            group, self.unwritten = self.unwritten, []
            accepted, begun, answered = (
                [value for what, value, _ in group if what == part] for part in PARTS
            )
            try:
                write = self.journal.write
                await loop.run_in_executor(self.disk, write, accepted, begun, answered)
                refused = None
            except Exception as error:  # a full disk
                refused = Refused(503, f"the journal cannot be written: {error}", 60)
            for future in [future for _, _, future in group if not future.done()]:
                if refused is None:
                    future.set_result(None)
                else:
                    future.set_exception(refused)
            if time.monotonic() > forgot + FORGET_S:
                forgot = time.monotonic()
                with suppress(sqlite3.Error):  # the next time, then
                    await loop.run_in_executor(self.disk, self.journal.forget, self.keep_s)

    async def feed(self) -> None:
        """From the oldest job on, as there is room."""
        while True:
            await self.to_feed.wait()
            while self.todo and self.has_room(self.todo[0]):
                job = self.todo.popleft()
                self.num_ahead += len(job.examples)
                self.alone = job.tries > 0
                task = asyncio.ensure_future(self.run(job))
                self.running.add(task)
                task.add_done_callback(self.ended)
            self.to_feed.clear()

    def has_room(self, job: Job) -> bool:
        """A job that was begun before may be what kills the worker: it runs without others."""
        fits = self.num_ahead + len(job.examples) <= self.ahead
        return not self.num_ahead or (fits and not job.tries and not self.alone)

    def ended(self, task: asyncio.Task[None]) -> None:
        self.running.discard(task)
        self.to_feed.set()

    async def run(self, job: Job) -> None:
        try:
            if job.tries >= MAX_TRIES:
                await self.written("answered", (job.id, [GAVE_UP] * len(job.examples)))
                return
            await self.written("begun", job.id)
            answers = await self.answered(job)
            if answers is None:
                self.todo.appendleft(Job(job.id, job.examples, job.tries + 1))
            else:
                await self.written("answered", (job.id, answers))
        except Refused:  # of the journal: it is tried again
            await asyncio.sleep(1)
            self.todo.append(job)
        finally:
            self.num_ahead -= len(job.examples)

    async def answered(self, job: Job) -> list[dict[str, Any]] | None:
        """None where the worker died with it."""
        loop = asyncio.get_running_loop()
        asks = [Ask(example, loop.create_future(), math.inf) for example in job.examples]
        while not self.waiting.put(asks):
            await asyncio.sleep(0.02)
        found = await asyncio.gather(*[ask.future for ask in asks], return_exceptions=True)
        answers = []
        for answer in found:
            if isinstance(answer, Refused) and answer.status == 503:
                return None
            if isinstance(answer, Refused):
                answer = {"error": answer.reason}
            assert not isinstance(answer, BaseException)
            answers.append(answer)
        return answers

    async def stop(self, longest_s: float) -> int:
        """Answers what waits, for so long; the rest stays on the disk for the next start. Returns
        how many those are."""
        end = time.monotonic() + longest_s
        while self.num_waiting and time.monotonic() < end:
            await asyncio.sleep(0.02)
        left = self.num_waiting
        for task in (*self.tasks, *self.running):
            task.cancel()
        await asyncio.gather(*self.tasks, *self.running, return_exceptions=True)
        self.disk.shutdown()
        self.journal.close()
        return left


PARTS = ("accepted", "begun", "answered")
