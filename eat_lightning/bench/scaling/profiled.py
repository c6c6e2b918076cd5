"""What torch's profiler counts during a pass: tensors alive at once, and time by operator.

The bytes are those asked of torch's allocator, scratch space of its operators included; not what a
matrix library packs for itself, nor what the system hands out in pages. They are the same on every
machine that runs the same operators.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, TypeVar

from torch.profiler import ProfilerActivity, profile

Given = TypeVar("Given")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Profiled:
    """peak_bytes: the most that was asked for and not yet given back, above what was there before.
    operators: milliseconds of each operator itself, without those it called."""

    peak_bytes: int
    operators: dict[str, float]


def profiled(run: Callable[[Given], object], given: Given) -> Profiled:
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # it would tell each start on standard error
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True, acc_events=True) as found:
        run(given)
    results: Any = found.profiler.kineto_results  # type: ignore[union-attr]
    changes = [e for e in results.events() if e.name() == "[memory]"]
    changes.sort(key=lambda e: e.start_ns())
    peak = max(accumulate((e.nbytes() for e in changes), initial=0))
    operators = {e.key: e.self_cpu_time_total / 1e3 for e in found.key_averages()}
    return Profiled(peak, {k: ms for k, ms in operators.items() if k.startswith("aten::")})


def resident_peak(run: Callable[[Given], Result], given: Given) -> tuple[Result, int | None]:
    """What it gives, and the same as the system sees it: pages of this process at their most, above
    those before (which may hold memory that an earlier pass gave back). None where the system does
    not say."""
    status, clear = Path("/proc/self/status"), Path("/proc/self/clear_refs")

    def kilobytes(name: str) -> int:
        line = next(x for x in status.read_text().splitlines() if x.startswith(name))
        return int(line.split()[1])

    try:
        clear.write_text("5")  # VmHWM begins anew
        before = kilobytes("VmRSS")
    except OSError:
        return run(given), None
    result = run(given)
    return result, 1024 * (kilobytes("VmHWM") - before)
