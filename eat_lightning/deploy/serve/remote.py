"""A model in its own process, so that the gateway survives if it crashes or runs out of memory."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

from eat_lightning.deploy.serve.body import RequestExample
from eat_lightning.deploy.serve.model import About, Chunk, open_model
from eat_lightning.deploy.serve.plan import ServeSettings
from eat_lightning.errors import ConfigError

STOP_S = 5  # for a process to end when its pipe is closed


class WorkerDied(Exception):
    """Error: the model's process has died, and its current examples are lost."""


class Remote:
    """Starts the process and waits until it has opened a model.

    Raises:
        ConfigError: where it cannot open one.
    """

    def __init__(self, plan: ServeSettings):
        ours, theirs = socket.socketpair()
        command = [sys.executable, "-m", "eat_lightning.deploy.serve.remote", str(theirs.fileno())]
        self.process = subprocess.Popen(command, pass_fds=[theirs.fileno()])
        theirs.close()
        self.pipe = Connection(ours.detach())
        self.pipe.send(plan)
        about = self.receive()
        if not isinstance(about, About):
            self.close()
            raise ConfigError(about)
        self.about = about

    def stream(self, examples: Sequence[RequestExample], deep: bool = False) -> Iterator[Chunk]:
        """Call `ServedModel.stream` in the process.

        Raises:
            RuntimeError: where it fails.
            WorkerDied: where the process dies.
        """
        try:
            self.pipe.send((examples, deep))
        except OSError:
            raise self.died() from None
        while (chunk := self.receive()) is not None:
            if isinstance(chunk, str):
                raise RuntimeError(chunk)
            yield chunk

    def receive(self) -> Any:
        try:
            return self.pipe.recv()
        except (EOFError, OSError):
            raise self.died() from None

    def died(self) -> WorkerDied:
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(STOP_S)
        status = self.process.returncode
        return WorkerDied(f"worker {self.process.pid} died (status {status})")

    def is_alive(self) -> bool:
        return self.process.poll() is None

    def kill(self) -> None:
        """Kill the process immediately. It is called from another thread than `stream`."""
        self.process.kill()

    def close(self) -> None:
        """Close the pipe, which ends the process; kill it if it does not end."""
        self.pipe.close()
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def work(pipe: Connection) -> None:
    """Serve calls until the gateway closes the pipe or ends."""
    # A signal to the whole group is the gateway's to understand: it still needs answers then.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    try:
        model = open_model(pipe.recv())
    except ConfigError as error:
        return pipe.send(str(error))
    except Exception as error:  # a broken file, of whatever kind
        return pipe.send(f"{type(error).__name__}: {str(error).partition(chr(10))[0]}")
    pipe.send(model.about)
    while True:
        examples, deep = pipe.recv()
        try:
            for chunk in model.stream(examples, deep):
                pipe.send(chunk)
            pipe.send(None)
        except (BrokenPipeError, ConnectionResetError):
            raise
        except Exception as error:
            traceback.print_exc()
            pipe.send(type(error).__name__)


if __name__ == "__main__":
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):  # the gateway is gone, or done
        work(Connection(int(sys.argv[1])))
