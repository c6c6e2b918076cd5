"""The processor that answers are computed on: its model, the instructions that decide how, and how
much of it a container may use."""

from __future__ import annotations

import math
import os
import platform
import re
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

MACHINE = "machine"  # its key among what a certificate holds for
QUOTA = Path("/sys/fs/cgroup/cpu.max")  # of version 2 of control groups
# Those that engines choose kernels by, so that int8 and bf16 answers may differ without them.
INSTRUCTIONS = (
    *("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8", "amx_bf16"),
    *("asimddp", "i8mm", "bf16", "sve"),  # of Arm
)


@cache
def cpuinfo() -> str:
    path = Path("/proc/cpuinfo")
    return path.read_text() if path.is_file() else ""


def processor() -> str:
    """The processor's name and its number of cores, as a row's machine."""
    names = re.findall(r"model name\s*:\s*(.+)", cpuinfo())
    return f"{names[0] if names else platform.processor() or platform.machine()} x{os.cpu_count()}"


def instructions() -> list[str]:
    """The instruction sets of `INSTRUCTIONS` that the processor has; none where it is not told."""
    found = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", cpuinfo(), re.MULTILINE)
    flags = set(found[1].split()) if found else set()
    return [name for name in INSTRUCTIONS if name in flags]


def quota(path: Path = QUOTA) -> int | None:
    """The number of cores whose time a container may use, rounded up; None where it is not limited.

    Args:
        path: where Linux keeps microseconds and period, as in "200000 100000" for two cores.
    """
    given = path.read_text().split() if path.is_file() else []
    if len(given) != 2 or given[0] == "max":
        return None
    return max(1, math.ceil(int(given[0]) / int(given[1])))


def machine() -> dict[str, Any]:
    """What a certificate keeps of the machine that it was made on."""
    return {"processor": processor().rpartition(" x")[0], "instructions": instructions()}


def difference(there: dict[str, Any], here: dict[str, Any]) -> str:
    """In words, how a certificate's machine differs from this one; "" where it does not."""
    lost = [name for name in there.get("instructions", []) if name not in here["instructions"]]
    if there.get("processor") == here["processor"] and not lost:
        return ""
    without = f", without {', '.join(lost)}" if lost else ""
    return (
        f"it was certified on {there.get('processor')}, and {here['processor']} runs here{without}"
    )


def has_torch() -> bool:
    """True where torch is installed, in which exit rules and our kernels are written."""
    return find_spec("torch") is not None


def version_of(name: str) -> str:
    """The version of a package here, or "absent"."""
    import eat_lightning

    if name == "torch" and has_torch():
        import torch  # with its build, such as +cu132, which PyPI's metadata leaves out

        return str(torch.__version__)
    try:
        return version(name)
    except PackageNotFoundError:
        return eat_lightning.__version__ if name == "eat_lightning" else "absent"
