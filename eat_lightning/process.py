"""The process of a command: quiet ends, and memory that it keeps."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of malloc.h


@contextmanager
def quiet_exit(kept: str = "") -> Iterator[None]:
    """End without a traceback on Ctrl-C (status 130), and where nobody reads on (`| head`).

    Args:
        kept: Printed on standard error after Ctrl-C: what is kept, and how to go on.
    """
    try:
        yield
    except (KeyboardInterrupt, SystemExit) as end:
        # Lightning ends an interrupted training by sys.exit(1).
        cause = end.__context__ if isinstance(end, SystemExit) and end.code == 1 else end
        if not isinstance(cause, KeyboardInterrupt):
            raise
        if kept:
            print(f"stopped: {kept}", file=sys.stderr)
        raise SystemExit(130) from None
    except BrokenPipeError:
        discard_output()
    finally:
        try:
            sys.stdout.flush()
        except BrokenPipeError:
            discard_output()


def end_with_the_reader() -> None:
    """End the process where nobody reads its output on (`| head`), whoever catches exceptions.

    For what is only shown: Hydra prints a traceback of a broken pipe. A server must outlive one.
    """
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)


def discard_output() -> None:
    """Send what is still printed nowhere: Python flushes standard output as it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def keep_freed_memory() -> None:
    """Let glibc keep 128 MB of freed memory for the next batch.

    The system fills returned pages with zeros, which took a third of int8's time. MALLOC_* or
    GLIBC_TUNABLES in the environment takes precedence.
    """
    configured = any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in os.environ)
    if configured or sys.platform != "linux":
        return
    if mallopt := getattr(ctypes.CDLL(None), "mallopt", None):
        mallopt(M_MMAP_THRESHOLD, 32 << 20)
        mallopt(M_TRIM_THRESHOLD, 128 << 20)
