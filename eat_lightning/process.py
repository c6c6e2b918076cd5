"""The process of a command: quiet ends, and memory that it keeps."""

from __future__ import annotations

import _thread
import ctypes
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of malloc.h


class Terminated(SystemExit):
    """The process was asked to end by SIGTERM."""


@contextmanager
def quiet_exit(kept: str = "") -> Iterator[None]:
    """End without a traceback on Ctrl-C (status 130), on SIGTERM where it is an exception (143),
    and where nobody reads on (`| head`).

    Args:
        kept: Printed on standard error after Ctrl-C or SIGTERM: what is kept, and how to go on.
    """
    before, sys.unraisablehook = sys.unraisablehook, again_if_interrupted
    try:
        yield
    except (KeyboardInterrupt, SystemExit) as end:
        # Lightning ends an interrupted training by sys.exit(1), and one that got SIGTERM by a
        # subclass of SystemExit, whose status would be 0.
        cause = end.__context__ if isinstance(end, SystemExit) and end.code == 1 else end
        terminated = isinstance(end, SystemExit) and type(end) is not SystemExit
        if not terminated and not isinstance(cause, KeyboardInterrupt):
            raise
        if kept:
            print(f"stopped: {kept}", file=sys.stderr)
        raise SystemExit(143 if terminated else 130) from None
    except BrokenPipeError:
        discard_output()
    finally:
        sys.unraisablehook = before
        try:
            sys.stdout.flush()
        except BrokenPipeError:
            discard_output()


def again_if_interrupted(ignored: sys.UnraisableHookArgs) -> None:
    """Repeat a Ctrl-C that came within a `__del__` or a callback of the garbage collector, where
    Python prints it and goes on: it would have stopped nothing."""
    if ignored.exc_type is KeyboardInterrupt:
        timer = threading.Timer(0.05, _thread.interrupt_main)  # at once it would come in here again
        timer.daemon = True
        timer.start()
    else:
        sys.__unraisablehook__(ignored)


def raise_on_sigterm() -> None:
    """Let SIGTERM raise Terminated, so that a command ends as after Ctrl-C."""

    def terminate(*_: object) -> None:
        raise Terminated(143)

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, terminate)


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
