"""Points become rows: time by turns, memory and counted work.

Shapes: R repeats, L layers, B examples.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any, TypeVar

import numpy as np
from torch.profiler import ProfilerActivity, profile

from eat_lightning.model.flops import flops
from eat_lightning.model.trace import Trace
from eat_lightning.progress import bar
from eat_lightning.record.timing import time_interleaved
from experiments.scaling.points import PRUNED, Point
from experiments.scaling.rows import ScalingRow

Given = TypeVar("Given")
WORTH = 0.01  # an operator is named that takes this share of a pass


def measured(points: Sequence[Point], repeats: int, **same: Any) -> list[ScalingRow]:
    """same: of a `ScalingRow` what all have in common. Within `latency.undisturbed`."""
    given = {point.name: point.given() for point in points}
    traces = {point.name: point.runner(given[point.name]) for point in points}  # and warmed up
    for point in points:
        point.attention.clear()
    settings = {point.name: (point.runner, [given[point.name]]) for point in points}
    with bar(f"{points[0].axis}, {len(points)} points", len(points) * repeats) as advance:
        took = time_interleaved(settings, repeats, 1, advance)
    rows = []
    for point in points:
        attention_R = None if point.is_product else tuple(point.attention)
        peak_bytes, operators = profiled(point.runner, given[point.name])
        named = point.axis == "length" and point.candidate == PRUNED
        fields: dict[str, Any] = {
            "axis": point.axis,
            "candidate": point.candidate,
            "size": point.size,
            "length": point.length,
            "batch": point.batch,
            "ms_R": tuple(took[point.name][:, 0].tolist()),
            "attention_R": attention_R,
            "peak_bytes": peak_bytes,
            "operators": operators if named else {},
        }
        rows.append(ScalingRow(**fields | work_of(point, traces[point.name]), **same))
    return rows


def work_of(point: Point, trace: Trace | None) -> dict[str, Any]:
    """FLOPs, layers, heads and retention, read off the shapes of a pass."""
    encoder, num_layers = point.encoder, point.encoder.shape.num_layers
    if trace is None:
        clock: Any = encoder.attention
        own = clock.flops(encoder.shape, 1, np.array([float(point.length)]))
        work = float(own[0]) * num_layers
        return {"flops": work, "layers_run": num_layers, "heads": 0, "retention": 1.0}
    tokens_LB, depth_B = trace.tokens_LB.numpy(), trace.depth_B.numpy()
    depth = int(depth_B.max())
    retention = float((tokens_LB[:depth] / tokens_LB[0]).mean())
    found = {
        "flops": float(flops(encoder, encoder.exit, tokens_LB, depth_B).sum()),
        "layers_run": depth,
        "heads": len(trace.guesses),
        "retention": retention,
    }
    return found | ({"size": retention} if point.axis == "retention" else {})


def profiled(run: Callable[[Given], object], given: Given) -> tuple[int, dict[str, float]]:
    """Count a pass's bytes alive at once, and time its operators.

    The bytes are the most that was asked of torch's allocator and not yet given back, above what
    was there before, scratch space of operators included; not what a matrix library packs for
    itself, nor what the system hands out in pages. They are the same on every machine that runs the
    same operators. Operators: milliseconds of each itself, without those it called.
    """
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # it would note each start on standard error
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True, acc_events=True) as found:
        run(given)
    results: Any = found.profiler.kineto_results  # type: ignore[union-attr]
    changes = [e for e in results.events() if e.name() == "[memory]"]
    changes.sort(key=lambda e: e.start_ns())
    peak = max(accumulate((e.nbytes() for e in changes), initial=0))
    took = {e.key: e.self_cpu_time_total / 1e3 for e in found.key_averages()}
    operators = {key: ms for key, ms in took.items() if key.startswith("aten::")}
    least = WORTH * sum(operators.values())
    return peak, {key: ms for key, ms in operators.items() if ms >= least}
