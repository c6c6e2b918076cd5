"""Worker processes that answer windows. If one dies, it is replaced, and its window is retried."""

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

from eat_lightning.deploy.score.scorer import Answers, Scorer, one_thread
from eat_lightning.deploy.score.windows import Window
from eat_lightning.text_io import InputLine

FORKS = sys.platform == "linux"  # elsewhere a fork of a process with threads is not safe
AHEAD = 2  # windows for each worker between the reader and the writer
MOST_DEATHS = 25  # without an answer between: one row that kills among a million needs 22
DIED = {"error": "a worker died on this row"}
SCORER: Scorer | None = None  # of a worker


class WorkersDie(Exception):
    """Error: workers die on any input."""


def begin(open_scorer: Callable[[], Scorer]) -> None:
    """Set up this process as a worker that ends with its parent."""
    global SCORER
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to understand
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=end_with_parent, daemon=True).start()
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
    """A worker process, restarted when it dies.

    Args:
        open_scorer: called in each process.
        forks: `open_scorer` returns a model that is loaded already.
        most_deaths: deaths without an answer between, after which the work ends.
    """

    def __init__(
        self, open_scorer: Callable[[], Scorer], forks: bool, most_deaths: int = MOST_DEATHS
    ):
        self.open_scorer, self.deaths, self.closed = open_scorer, 0, False
        self.most_deaths = most_deaths
        self.context = multiprocessing.get_context("fork" if forks else "spawn")
        self.executor: ProcessPoolExecutor | None = None
        if forks:  # while nothing else runs; a model that is opened anew waits for work
            self.start()

    def start(self) -> ProcessPoolExecutor:
        self.executor = ProcessPoolExecutor(1, self.context, begin, (self.open_scorer,))
        with warnings.catch_warnings():  # Python warns of forks beside threads; ours wait
            warnings.simplefilter("ignore", DeprecationWarning)
            self.pid = self.executor.submit(os.getpid).result()
        if self.closed:  # meanwhile
            self.close()
        return self.executor

    def answers(self, rows: Sequence[InputLine], tries: int = 2) -> Answers:
        """Return an answer for each row; {"error": why} for a row that kills every worker, which is
        found by bisection.
        """
        for _ in range(tries):
            try:
                answers = (self.executor or self.start()).submit(answer, rows).result()
                self.deaths = 0
                return answers
            except BrokenProcessPool:
                self.replace()
        if len(rows) == 1:
            return [DIED]
        middle = len(rows) // 2
        return self.answers(rows[:middle], 1) + self.answers(rows[middle:], 1)

    def replace(self) -> None:
        self.deaths += 1
        if self.deaths > self.most_deaths or self.closed:
            raise WorkersDie(f"{self.deaths} workers died one after the other")
        print("a worker died and is replaced", file=sys.stderr, flush=True)
        self.start()

    def close(self) -> None:
        """End the process immediately."""
        self.closed = True
        if self.executor is not None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            self.executor.shutdown(cancel_futures=True)


@contextmanager
def start_workers(
    open_scorer: Callable[[], Scorer], forks: bool, count: int, most_deaths: int = MOST_DEATHS
) -> Iterator[list[Worker]]:
    """Start workers that end with the block."""
    workers: list[Worker] = []
    gc.freeze()  # a collection in a forked worker would write to every page that is shared
    try:
        workers += (Worker(open_scorer, forks, most_deaths) for _ in range(count))
        yield workers
    finally:
        for worker in workers:
            worker.close()
        gc.unfreeze()


def answer_windows(
    windows: Iterable[Window], workers: list[Worker], ahead: int = AHEAD
) -> Iterator[tuple[Window, Answers]]:
    """Yield windows with their answers, in order. At most `ahead` windows per worker are read ahead
    of the writer.
    """
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
