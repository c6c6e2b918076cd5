"""Processes that answer windows: one that dies is replaced, and its window is answered again."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import sys
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from queue import LifoQueue
from typing import Any

from eat_lightning.deploy.score.inputs import Window
from eat_lightning.deploy.score.plan import cores
from eat_lightning.deploy.score.scorer import Answers, Scorer, one_thread
from eat_lightning.text_io import InputLine

FORKS = sys.platform == "linux"  # elsewhere a fork of a process with threads is not safe
AHEAD = 2  # windows for each worker between the reader and the writer
MOST_DEATHS = 50  # of workers, on one window: a single row that kills takes half as many
SCORER: Scorer | None = None  # of a worker


class WorkersDie(Exception):
    """Workers die on whatever they are given."""


def begin(open_scorer: Callable[[], Scorer], core: int | None) -> None:
    """Make this process a worker: for one core, and no longer than its parent lives."""
    global SCORER
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to understand
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=end_with_parent, daemon=True).start()
    if core is not None:
        os.sched_setaffinity(0, {core})
    one_thread()
    SCORER = open_scorer()


def end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def answer(rows: Sequence[InputLine]) -> Answers:
    assert SCORER is not None
    return SCORER(rows)


class Worker:
    """A process that answers, and the ones that take its place when it dies.

    Args:
        open_scorer: called in each process.
        forks: it hands over a model that is loaded already.
        core: on which the process runs.
    """

    def __init__(self, open_scorer: Callable[[], Scorer], forks: bool, core: int | None):
        self.context = multiprocessing.get_context("fork" if forks else "spawn")
        self.arguments, self.closed = (open_scorer, core), False
        self.executor: ProcessPoolExecutor | None = None
        if forks:  # while nothing else runs; a model that is opened anew waits for work
            self.start()

    def start(self) -> None:
        self.executor = ProcessPoolExecutor(1, self.context, begin, self.arguments)
        with warnings.catch_warnings():  # Python warns of forks beside threads; ours wait
            warnings.simplefilter("ignore", DeprecationWarning)
            self.pid = self.executor.submit(os.getpid).result()
        if self.closed:  # meanwhile
            self.close()

    def answers(self, rows: Sequence[InputLine]) -> Answers:
        """An answer for each row; {"error": why} for a row that kills every worker."""
        deaths = 0
        if self.executor is None:
            self.start()

        def of(start: int, end: int, tries: int) -> Answers:
            nonlocal deaths
            for _ in range(tries):
                try:
                    return self.process.submit(answer, rows[start:end]).result()
                except BrokenProcessPool:
                    deaths += 1
                    self.replace(deaths)
            if end - start == 1:
                return [{"error": "a worker died on this row"}]
            middle = (start + end) // 2
            return of(start, middle, 1) + of(middle, end, 1)

        return of(0, len(rows), 2)

    def replace(self, deaths: int) -> None:
        if deaths > MOST_DEATHS or self.closed:
            raise WorkersDie(f"{deaths} workers died on one window")
        print("a worker died: another one takes its place", file=sys.stderr, flush=True)
        self.process.shutdown()
        self.start()

    @property
    def process(self) -> ProcessPoolExecutor:
        assert self.executor is not None
        return self.executor

    def close(self) -> None:
        """End it at once: it waits, or its work is not wanted."""
        self.closed = True
        if self.executor is not None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            self.executor.shutdown(cancel_futures=True)


@contextmanager
def started(open_scorer: Callable[[], Scorer], forks: bool, count: int) -> Iterator[list[Worker]]:
    """Workers, each on a core of its own while there are enough."""
    places: list[Any] = cores() if hasattr(os, "sched_setaffinity") else []
    workers: list[Worker] = []
    gc.freeze()  # a collection in a forked worker would write to every page that is shared
    try:
        for place in (places + [None] * count)[:count]:
            workers += [Worker(open_scorer, forks, place)]
        yield workers
    finally:
        for worker in workers:
            worker.close()
        gc.unfreeze()


def answered(
    windows: Iterable[Window], workers: list[Worker], ahead: int = AHEAD
) -> Iterator[tuple[Window, Answers]]:
    """Yield windows with their answers, in order. A window is read only while fewer than `ahead`
    for each worker are between the reader and the writer."""
    idle: LifoQueue[Worker] = LifoQueue()  # so that few windows start few workers
    for worker in reversed(workers):
        idle.put(worker)

    def answers(window: Window) -> Answers:
        worker = idle.get()
        try:
            return worker.answers(window.rows)
        finally:
            idle.put(worker)

    waiting: deque[tuple[Window, Future[Answers]]] = deque()
    threads = ThreadPoolExecutor(len(workers))  # each waits for one worker
    try:
        for window in windows:
            waiting.append((window, threads.submit(answers, window)))
            if len(waiting) == ahead * len(workers):
                first, future = waiting.popleft()
                yield first, future.result()
        while waiting:
            first, future = waiting.popleft()
            yield first, future.result()
    finally:
        for worker in workers if waiting else ():  # their answers are not wanted any more
            worker.close()
        threads.shutdown(cancel_futures=True)
