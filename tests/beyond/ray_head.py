"""A Ray cluster of this machine alone, for the tests in this folder."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SCRIPT = Path(__file__).with_name("ray_head.sh")


@contextmanager
def ray_head(num_cpus: int = 4) -> Iterator[dict[str, str]]:
    """Start one, where RAY_ADDRESS names none; what to have in the environment to join it."""
    if "RAY_ADDRESS" in os.environ:
        yield {}
        return
    folder = tempfile.mkdtemp(prefix="eat", dir="/tmp")  # short: sockets lie in it
    programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    with subprocess.Popen(
        [SCRIPT, folder, str(num_cpus)],
        env=os.environ | {"PATH": programs},
        stdout=subprocess.PIPE,
        text=True,
    ) as head:
        try:
            assert head.stdout is not None
            line = head.stdout.readline()
            assert "RAY_ADDRESS=" in line, Path(f"{folder}.log").read_text()
            yield dict(word.split("=") for word in line.split())
        finally:
            head.send_signal(signal.SIGTERM)
    shutil.rmtree(folder, ignore_errors=True)
    Path(f"{folder}.log").unlink(missing_ok=True)
