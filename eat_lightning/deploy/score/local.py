"""Workers on this machine: processes forked when the model is loaded, so that its weights are in
memory once. A worker that dies is replaced, and its shard done again."""

from __future__ import annotations

import ctypes
import gc
import multiprocessing
import os
import signal
import sys
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

from eat_lightning.deploy.score.inputs import Shard
from eat_lightning.deploy.score.plan import cores
from eat_lightning.deploy.score.work import MOST_TRIES, Job, ShardEvent, Tally

FORKS = sys.platform == "linux"  # elsewhere a fork of a process with threads is not safe
DIE_WITH_PARENT = 1  # prctl's PR_SET_PDEATHSIG
KERNELS = "32"  # enough for a batch at all of its shapes


@dataclass
class ShardWorker:
    """A process with a pipe to it. core: that it is kept on. place: of the shard that it has."""

    process: Any
    pipe: Connection
    core: int | None
    place: int | None = None

    def end(self) -> None:
        self.pipe.close()
        self.process.terminate()
        self.process.join()


def work(make_job: Callable[[], Job], pipe: Connection, core: int | None, parent: int) -> None:
    """Score the shards that come through a pipe, until it is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to understand
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(DIE_WITH_PARENT, signal.SIGKILL)
    if core is not None:
        os.sched_setaffinity(0, {core})
    one_thread()
    job = make_job()
    try:
        while os.getppid() == parent:
            for event in job.events(*pipe.recv()):
                pipe.send(event)
    except (EOFError, BrokenPipeError, ConnectionResetError):  # the parent is done, or gone
        pass


def one_thread() -> None:
    """A worker is for one core, in libraries too, and keeps few kernels, before it makes the first:
    every number of packed tokens wants kernels of its own, of which oneDNN keeps 1,024 and torch's
    bridge to it as many, several hundred megabytes that come only slowly."""
    import pyarrow as pa
    import torch

    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    for name in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):
        os.environ.setdefault(name, KERNELS)
    torch.set_num_threads(1)
    pa.set_cpu_count(1)


class WorkerPool:
    """Workers that are made as they are needed. make_job: called in each of them. forks: it hands
    over what is loaded already."""

    def __init__(self, make_job: Callable[[], Job], forks: bool):
        self.make_job, self.workers = make_job, list[ShardWorker]()
        self.context: Any = multiprocessing.get_context("fork" if forks else "spawn")
        self.cores = cores() if hasattr(os, "sched_setaffinity") else []

    def start(self) -> ShardWorker:
        ours, theirs = self.context.Pipe()
        taken = [worker.core for worker in self.workers]
        core = next((core for core in self.cores if core not in taken), None)
        given = (self.make_job, theirs, core, os.getpid())
        process = self.context.Process(target=work, args=given, daemon=True)
        gc.freeze()  # a collection in a forked worker would write to every page that is shared
        with warnings.catch_warnings():  # Python warns of forks beside threads; ours sleep
            warnings.simplefilter("ignore", DeprecationWarning)
            process.start()
        theirs.close()
        self.workers.append(ShardWorker(process, ours, core))
        return self.workers[-1]

    def drop(self, worker: ShardWorker) -> str:
        """Let go of one that died; how it did."""
        self.workers.remove(worker)
        worker.end()
        status = worker.process.exitcode
        how = signal.Signals(-status).name if status and status < 0 else f"status {status}"
        return f"a worker died ({how})"

    def close(self) -> None:
        for worker in self.workers:
            worker.end()
        gc.unfreeze()


def scored_here(shards: Sequence[Shard], pool: WorkerPool, workers: int) -> Iterator[ShardEvent]:
    """Score shards in their order."""
    waiting = deque(range(len(shards)))
    tries = [0] * len(shards)
    try:
        while waiting or any(worker.place is not None for worker in pool.workers):
            idle = [worker for worker in pool.workers if worker.place is None]
            while waiting and (idle or len(pool.workers) < workers):
                worker, place = idle.pop() if idle else pool.start(), waiting.popleft()
                tries[place] += 1
                worker.place = place
                worker.pipe.send((place, shards[place]))
            for event in heard(pool, shards):
                if event.died and tries[event.shard] < MOST_TRIES:
                    waiting.append(event.shard)
                    event = ShardEvent(event.shard, Tally())
                yield event
    finally:
        pool.close()


def heard(pool: WorkerPool, shards: Sequence[Shard]) -> Iterator[ShardEvent]:
    """Yield the next events of workers that have a shard. A worker that died gives a line, and an
    event with a fault."""
    by_pipe = {worker.pipe: worker for worker in pool.workers if worker.place is not None}
    for pipe in wait([*by_pipe]):
        worker = by_pipe[pipe]  # type: ignore[index]
        place = worker.place
        assert place is not None
        try:
            event = worker.pipe.recv()
        except (EOFError, OSError):
            how = pool.drop(worker)
            print(how, file=sys.stderr, flush=True)
            yield ShardEvent(place, Tally(), fault=f"{shards[place].name}: {how}", died=True)
            continue
        if event.ends:
            worker.place = None
        yield event
