"""A model in a process of its own: when it dies of a signal or for memory, the gateway lives."""

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
    """Error: the process that ran the model is gone, and the examples in work with it."""


class Remote:
    """Starts the process and waits until it has a model. ConfigError says why it has none."""

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
        """Do as `Model.stream`. RuntimeError where that fails, WorkerDied where its process
        does."""
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
        """At once, whatever it is at work on; by another thread than that which streams."""
        self.process.kill()

    def close(self) -> None:
        """It ends when its pipe does, and is killed where it does not."""
        self.pipe.close()
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def work(pipe: Connection) -> None:
    """Until the gateway closes its end, or is gone."""
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
