"""A gateway of its own process, on a core of its own, for as long as it is measured."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from eat_lightning.errors import ConfigError

STOP_S = 60


@contextmanager
def gateway(overrides: list[str], core: int | None) -> Iterator[tuple[str, int]]:
    """Its host and port, once it serves. ConfigError where it does not start, or does not stop
    with status 0."""
    command = [sys.executable, "-m", "eat_lightning.serve", "port=0", *overrides]

    def pin() -> None:
        if core is not None:
            os.sched_setaffinity(0, {core})

    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=pin) as child:
        try:
            assert child.stdout is not None
            line = child.stdout.readline()
            if not line.startswith("serving "):
                raise ConfigError(f"the gateway did not start: {' '.join(command)}")
            url = urlsplit(line.split(" on ")[1].split()[0])
            yield str(url.hostname), int(url.port or 0)
            child.send_signal(signal.SIGTERM)
            status = child.wait(STOP_S)
        finally:
            child.kill()
    if status:
        raise ConfigError(f"the gateway ended with status {status}")
