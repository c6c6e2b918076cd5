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
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).parents[1]
PRELOADED = [
    *("torch", "lightning.pytorch", "hydra", "pandas", "pyarrow.parquet", "transformers"),
    *("eat_lightning.cli", "eat_lightning.train.fit", "eat_lightning.train.measured"),
    *("eat_lightning.runs.open", "torch.distributed.run"),
]


@cache
def context() -> Any:
    """The way to the process that forks, which starts with the first command."""
    made = multiprocessing.get_context("forkserver")
    made.set_forkserver_preload(PRELOADED)
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = str(ROOT)  # the package of this folder, wherever a test stands
    forkserver.ensure_running()
    os.environ.pop("PYTHONPATH")
    if before is not None:
        os.environ["PYTHONPATH"] = before
    return made


def run_module(
    words: Sequence[str], env: Mapping[str, str], cwd: str, given: Mapping[int, Connection]
) -> None:
    """Become `python -m` of these words; given: what to open as which descriptor."""
    os.setsid()
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    for number, connection in given.items():
        os.dup2(connection.fileno(), number)
    sys.stdin, sys.stdout = open(0, closefd=False), open(1, "w", closefd=False)
    sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)
    tempfile.tempdir = None
    sys.argv, sys.path[:0] = [*words], [str(ROOT)]
    try:
        runpy.run_module(words[0], run_name="__main__", alter_sys=True)
    finally:
        sys.stdout.flush()


class Command:
    """A module with its arguments, in a process and session of its own; used as
    `subprocess.Popen` of text."""

    def __init__(
        self,
        module: str,
        *arguments: str,
        env: Mapping[str, str] | None = None,
        cwd: str | Path | None = None,
        stdin: bool = False,
    ):
        ends = [os.pipe() for _ in range(3)]
        (in_r, in_w), (out_r, out_w), (err_r, err_w) = ends
        given = {number: Connection(fd) for number, fd in enumerate((in_r, out_w, err_w))}
        environment = {**os.environ, **(env or {})}
        words = [module, *arguments]
        where = str(cwd or Path.cwd())
        self.process = context().Process(target=run_module, args=(words, environment, where, given))
        self.process.start()
        for connection in given.values():
            connection.close()
        self.stdin: IO[str] = open(in_w, "w")
        self.stdout: IO[str] = open(out_r)
        self.stderr: IO[str] = open(err_r)
        if not stdin:
            self.stdin.close()

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def returncode(self) -> int | None:
        return self.process.exitcode

    def poll(self) -> int | None:
        return self.process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self.process.join(timeout)
        if self.process.exitcode is None:
            raise subprocess.TimeoutExpired(str(self.process.name), timeout or 0)
        return self.process.exitcode

    def communicate(self, timeout: float = 600) -> tuple[str, str]:
        """What it prints until it ends."""
        with ThreadPoolExecutor(2) as readers:
            texts = [readers.submit(file.read) for file in (self.stdout, self.stderr)]
            try:
                self.wait(timeout)
            except subprocess.TimeoutExpired:
                self.kill()
                raise
            return texts[0].result(), texts[1].result()

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        """It and all that it started."""
        if self.poll() is None:
            os.killpg(self.pid, signal.SIGKILL)

    def __enter__(self) -> Command:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self.process.join()
        for file in (self.stdin, self.stdout, self.stderr):
            file.close()


def finished(module: str, *arguments: str, status: int = 0, **how: Any) -> tuple[str, str]:
    """What a command prints that must end with this status."""
    with Command(module, *arguments, **how) as command:
        out, err = command.communicate()
    assert command.returncode == status, err
    return out, err
