"""Jobs: accepted once they are on the disk, answered whatever dies, fetched by their id.

The journal is SQLite's write-ahead log, with an fsync for each transaction. A job's texts are
deleted from it when it is answered.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import sqlite3
import time
import uuid
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from eat_lightning.deploy.serve.body import Example
from eat_lightning.deploy.serve.plan import ServePlan
from eat_lightning.deploy.serve.worker import Answer, Ask, Queue, Refused
from eat_lightning.errors import ConfigError

Change = tuple[str, tuple[Any, ...]]  # of the journal: SQL and its values
MAX_TRIES = 3  # then it is the job that kills
FORGET_S = 3600  # between two deletions of old answers
GAVE_UP = {"error": f"given up: begun {MAX_TRIES} times and never finished"}
TABLE = """
create table if not exists jobs (
    number integer primary key, id text unique not null, at real not null,
    examples text, answers text, tries integer not null default 0
)
"""


@dataclass(frozen=True)
class Job:
    """tries: how often it was begun; more than 1 only where the gateway or its worker died."""

    id: str
    examples: list[Example]
    tries: int = 0


def accepted(job: Job) -> Change:
    values = (job.id, time.time(), json.dumps(job.examples))
    return "insert into jobs (id, at, examples) values (?, ?, ?)", values


def begun(job: Job) -> Change:
    return "update jobs set tries = tries + 1 where id = ?", (job.id,)


def answered(job: Job, answers: Sequence[Answer]) -> Change:
    sql = "update jobs set answers = ?, examples = null where id = ?"
    return sql, (json.dumps(answers), job.id)


class Journal:
    """ConfigError where the folder cannot be used, or another gateway uses it."""

    def __init__(self, folder: str):
        path = Path(folder)
        self.lock = FileLock(path / "lock", mode=0o600, thread_local=False)
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.lock.acquire(timeout=0)
            os.close(os.open(path / "jobs.sqlite", os.O_CREAT, 0o600))
            # One thread at a time uses it, not always the same one.
            self.base = sqlite3.connect(path / "jobs.sqlite", check_same_thread=False)
            for setting in ("journal_mode=wal", "synchronous=full", "secure_delete=on"):
                self.base.execute(f"pragma {setting}")
            self.base.execute(TABLE)
        except Timeout:
            raise ConfigError(f"journal={folder} is another gateway's, which runs") from None
        except (sqlite3.Error, OSError) as error:
            raise ConfigError(f"journal={folder}: cannot be used ({error})") from None

    def write(self, changes: Sequence[Change]) -> None:
        """All of them or none, and on the disk when this returns."""
        with self.base:
            for change in changes:
                self.base.execute(*change)

    def waiting(self) -> list[Job]:
        """Accepted and not answered, in the order they came."""
        query = "select id, examples, tries from jobs where answers is null order by number"
        return [
            Job(id, [Example(*example) for example in json.loads(examples)], tries)
            for id, examples, tries in self.base.execute(query)
        ]

    def answers(self, id: str) -> list[Answer] | None:
        """None while it waits; KeyError where there is no such job."""
        found = self.base.execute("select answers from jobs where id = ?", (id,)).fetchone()
        if found is None:
            raise KeyError(id)
        return None if found[0] is None else json.loads(found[0])

    def forget(self, older_than_s: float) -> None:
        """Delete answered jobs that were accepted so long ago."""
        bound = time.time() - older_than_s
        with self.base:
            self.base.execute("delete from jobs where answers is not null and at < ?", (bound,))

    def close(self) -> None:
        self.base.close()
        self.lock.release()


class Jobs:
    """Feeds the queue beside the requests from the oldest job on, with no more examples than two
    batches at a time."""

    def __init__(self, journal: Journal, queue: Queue, plan: ServePlan):
        self.journal, self.queue, self.plan = journal, queue, plan
        self.forgot = -math.inf
        self.todo = deque(journal.waiting())
        self.running: set[asyncio.Task[None]] = set()
        self.alone = False  # one that was begun before runs, and must not take others with it
        self.num_ahead = 0  # examples in the queue or at work
        self.num_posted = 0  # jobs on their way to the disk
        self.disk = ThreadPoolExecutor(1, "journal")
        self.unwritten: deque[tuple[Change, Future[None]]] = deque()

    @property
    def num_waiting(self) -> int:
        return len(self.todo) + len(self.running)

    async def post(self, examples: list[Example]) -> str:
        """The id of a job that is on the disk. Refused: 503 where too many wait."""
        bound = self.plan.max_jobs
        if self.num_waiting + self.num_posted >= bound:
            raise Refused(503, f"too many jobs wait ({bound})", max(1, bound // 100))
        job = Job(uuid.uuid4().hex, examples)
        self.num_posted += 1
        try:
            await self.write(accepted(job))
        finally:
            self.num_posted -= 1
        self.todo.append(job)
        self.feed()
        return job.id

    async def find(self, id: str) -> list[Answer] | None:
        """Its answers, None while it waits; Refused where there is no such job."""
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self.disk, self.journal.answers, id)
        except KeyError:
            raise Refused(404, "there is no such job") from None

    async def write(self, change: Change) -> None:
        """Wait until it is on the disk. Refused: 503 where it cannot be written."""
        written: Future[None] = Future()
        self.unwritten.append((change, written))
        self.disk.submit(self.flush)
        await asyncio.wrap_future(written)

    def flush(self) -> None:
        """Write all that came meanwhile in one transaction, and so with one fsync."""
        taken = [self.unwritten.popleft() for _ in range(len(self.unwritten))]
        refused = None
        try:
            self.journal.write([change for change, _ in taken])
        except Exception as error:  # a full disk
            refused = Refused(503, f"the journal cannot be written: {error}", 60)
        for _, written in taken:
            if written.set_running_or_notify_cancel():
                written.set_exception(refused) if refused else written.set_result(None)
        if time.monotonic() > self.forgot + FORGET_S:
            self.forgot = time.monotonic()
            with suppress(sqlite3.Error):  # the next time, then
                self.journal.forget(self.plan.keep_hours * 3600)

    def feed(self) -> None:
        """Feed the workers, in the event loop."""
        while self.todo:
            job = self.todo[0]
            fits = self.num_ahead + len(job.examples) <= 2 * self.plan.examples_at_once
            # One that was begun before may be what kills the worker: it runs without others.
            if self.num_ahead and (not fits or job.tries or self.alone):
                return
            self.todo.popleft()
            self.num_ahead += len(job.examples)
            self.alone = job.tries > 0
            task = asyncio.ensure_future(self.run(job))
            self.running.add(task)
            task.add_done_callback(self.running.discard)
            task.add_done_callback(lambda _: self.feed())  # nothing is left to do once it stops

    async def run(self, job: Job) -> None:
        try:
            if job.tries >= MAX_TRIES:
                await self.write(answered(job, [GAVE_UP] * len(job.examples)))
                return
            await self.write(begun(job))
            answers = await self.answers(job)
            if answers is None:
                self.todo.appendleft(replace(job, tries=job.tries + 1))
            else:
                await self.write(answered(job, answers))
        except Refused:  # of the journal: it is tried again
            await asyncio.sleep(1)
            self.todo.append(job)
        finally:
            self.num_ahead -= len(job.examples)

    async def answers(self, job: Job) -> list[Answer] | None:
        """None where the worker died with it."""
        asks = [Ask(example) for example in job.examples]
        while not self.queue.put(asks):
            await asyncio.sleep(0.02)
        answers = []
        for ask in asks:
            answer = await ask.future
            if isinstance(answer, Refused) and answer.status_code == 503:
                return None
            answers.append({"error": answer.detail} if isinstance(answer, Refused) else answer)
        return answers

    async def stop(self) -> int:
        """Answer what waits, for `stop_s`; the rest stays on the disk for the next start. Returns
        how many those are."""
        end = time.monotonic() + self.plan.stop_s
        while self.num_waiting and time.monotonic() < end:
            await asyncio.sleep(0.02)
        left = self.num_waiting
        self.todo.clear()
        for task in self.running:
            task.cancel()
        await asyncio.gather(*self.running, return_exceptions=True)
        self.disk.shutdown()
        self.journal.close()
        return left
