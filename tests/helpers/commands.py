"""Commands of the package as processes that start at once: each is forked from one process that has
imported torch and Lightning. Signals, statuses and pipes are those of `python -m`."""

from __future__ import annotations

import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from multiprocessing import context as contexts
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

import pytest

ROOT = Path(__file__).parents[2]
PRELOADED = [
    *("torch", "lightning.pytorch", "hydra._internal.hydra", "pandas", "pyarrow.parquet"),
    *("transformers", "fastapi", "uvicorn", "prometheus_client", "omegaconf"),
    *("eat_lightning.cli", "eat_lightning.train.fit", "eat_lightning.train.measured"),
    *(
        "eat_lightning.bundle.open_run",
        "eat_lightning.bundle.open",
        "eat_lightning.bundle.run_graphs",
    ),
]
SERVE = "eat_lightning.serve"
SERVER: Any = forkserver._forkserver  # type: ignore[attr-defined]


@cache
def context() -> Any:
    """Start the process that forks, once."""
    made = multiprocessing.get_context("forkserver")
    made.set_forkserver_preload(PRELOADED)
    with pytest.MonkeyPatch.context() as patch:
        # The package of this folder, wherever a test stands.
        patch.setenv("PYTHONPATH", str(ROOT))
        SERVER.ensure_running()
    return made


class Process:
    """`python -m` of these words, in a session of its own; used as `subprocess.Popen`.

    opened: a descriptor of this process for each one that it is to have. forks: what it starts is
    forked too; a child that must end with its parent must be the parent's.
    """

    def __init__(
        self,
        words: Sequence[str],
        opened: Mapping[int, int],
        env: Mapping[str, str] | None = None,
        cwd: str | Path | None = None,
        forks: bool = True,
    ):
        process = context().Process
        given = {number: Connection(os.dup(fd)) for number, fd in opened.items()}
        where = str(cwd or Path.cwd())
        words, env = list(words), {**os.environ, **(env or {})}
        told = (SERVER._forkserver_address if forks else "", words, env, where, given)
        self.process = process(target=run_module, args=told)
        self.process.start()
        for connection in given.values():
            connection.close()
        self.pid: int = self.process.pid

    @property
    def returncode(self) -> int | None:
        return self.process.exitcode

    def poll(self) -> int | None:
        return self.process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self.process.join(timeout)
        if self.process.exitcode is None:
            raise subprocess.TimeoutExpired(self.process.name, timeout or 0)
        return self.process.exitcode

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        if self.poll() is None:
            self.send_signal(signal.SIGKILL)


def run_module(
    address: str, words: list[str], env: dict[str, str], cwd: str, given: dict[int, Connection]
) -> None:
    """Become `python -m` of these words, in a process that was forked for it."""
    os.setsid()
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    for number, connection in given.items():
        os.dup2(connection.fileno(), number)
    sys.stdin, sys.stdout = os.fdopen(0, closefd=False), os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, errors="backslashreplace", closefd=False)
    tempfile.tempdir = None
    sys.argv, sys.path[:0] = [*words], [str(ROOT)]
    if address:
        fork_children_too(address)
        if words[0] == SERVE:
            fork_workers(pytest.MonkeyPatch())
    try:
        runpy.run_module(words[0], run_name="__main__", alter_sys=True)
    finally:
        sys.stdout.flush()


def fork_children_too(address: str) -> None:
    """Have ranks and workers, which would be spawned, forked from the same process."""
    SERVER._forkserver_address, SERVER.ensure_running = address, resource_tracker.ensure_running
    known: Any = contexts._concrete_contexts  # type: ignore[attr-defined]
    known["spawn"] = known["forkserver"]


def fork_workers(patch: pytest.MonkeyPatch) -> None:
    """Have the gateway's worker, which is a `python -m`, forked too."""
    from eat_lightning.deploy.serve import remote

    def popen(command: list[str], pass_fds: Sequence[int]) -> Process:
        return Process(command[2:], {number: number for number in (0, 1, 2, *pass_fds)})

    ours = SimpleNamespace(Popen=popen, TimeoutExpired=subprocess.TimeoutExpired)
    patch.setattr(remote, "subprocess", ours)


class Command(Process):
    """A command of the package with its pipes."""

    def __init__(self, module: str, *arguments: str, **how: Any):
        (in_r, in_w), (out_r, out_w), (err_r, err_w) = (os.pipe() for _ in range(3))
        super().__init__([module, *arguments], {0: in_r, 1: out_w, 2: err_w}, **how)
        for end in (in_r, out_w, err_w):
            os.close(end)
        self.stdin: IO[str] = os.fdopen(in_w, "w")
        self.stdout: IO[str] = os.fdopen(out_r)
        self.stderr: IO[str] = os.fdopen(err_r)

    def communicate(self, timeout: float = 600) -> tuple[str, str]:
        """What it prints until it ends, when nobody tells it anything."""
        self.stdin.close()
        with ThreadPoolExecutor(2) as readers:
            texts = [readers.submit(file.read) for file in (self.stdout, self.stderr)]
            try:
                self.wait(timeout)
            finally:
                self.kill()
            out, err = (text.result() for text in texts)
        self.stdout.close()
        self.stderr.close()
        return out, err

    def __enter__(self) -> Command:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self.process.join()
        for file in (self.stdin, self.stdout, self.stderr):
            file.close()


def finished(module: str, *arguments: str, status: int = 0, **how: Any) -> tuple[str, str]:
    """Return what a command prints that must end with this status."""
    with Command(module, *arguments, **how) as command:
        out, err = command.communicate()
    assert command.returncode == status, err
    return out, err
