"""Points become rows: time by turns, memory, counted work, and equality with the masked product.

Shapes: R repeats, M rows of the last layer, L layers, B examples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from eat_lightning.bench.scaling.points import Point
from eat_lightning.bench.scaling.profiled import Profiled, profiled, resident_peak
from eat_lightning.bench.scaling.rows import GrowthRow, OperatorRow
from eat_lightning.bench.scaling.subjects import PRUNED, WINDOW, WithoutKernel, text
from eat_lightning.infer.latency import time_interleaved
from eat_lightning.methods.attention.longformer import Longformer
from eat_lightning.model.encoder import AdaptiveEncoder, Trace, with_slots
from eat_lightning.model.flops import flops
from eat_lightning.model.packed import Batch

WORTH = 0.01  # an operator is told of that takes this share of some pass


def measured(
    points: Sequence[Point], repeats: int, mask_up_to: int, **how: Any
) -> tuple[list[GrowthRow], list[OperatorRow]]:
    """how: of a `GrowthRow` what is the same in all. Within `latency.undisturbed`."""
    given = {point.name: point.given() for point in points}
    first = {point.name: resident_peak(point.runner(), given[point.name]) for point in points}
    settings = {point.name: (point.runner(), [given[point.name]]) for point in points}
    for point in points:
        point.attention.clear()
    took = time_interleaved(settings, repeats, block=1)
    rows, operators = [], []
    for point in points:
        attention_R = None if point.is_product else tuple(point.attention)
        counted = profiled(point.runner(), given[point.name])
        trace, resident_bytes = first[point.name]
        fields: dict[str, Any] = {
            **{key: getattr(point, key) for key in ("axis", "contestant", "size")},
            **{"length": point.length, "batch": point.batch, "attention_R": attention_R},
            **{"ms_R": tuple(took[point.name][:, 0].tolist())},
            **{"peak_bytes": counted.peak_bytes, "resident_bytes": resident_bytes},
            **work_of(point, trace),
            **checked(point, mask_up_to),
            **how,
        }
        row = GrowthRow(**fields)
        rows.append(row)
        operators += operators_of(point, counted)
    return rows, operators


def work_of(point: Point, trace: Trace | None) -> dict[str, Any]:
    """FLOPs, layers, heads and retention, read off the shapes of a pass."""
    encoder, num_layers = point.encoder, point.encoder.shape.num_layers
    if trace is None:
        pairs = pairs_of(encoder, point.length)
        work = 4.0 * pairs * encoder.shape.hidden_size * num_layers
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


def pairs_of(encoder: AdaptiveEncoder, length: int) -> float:
    clock: Any = encoder.attention
    return float(clock.pairs(np.array([float(length)]), 1)[0])


def operators_of(point: Point, counted: Profiled) -> list[OperatorRow]:
    if point.axis != "length" or point.contestant != PRUNED:
        return []
    least = WORTH * sum(counted.operators.values())
    return [
        OperatorRow(name, point.contestant, point.length, ms)
        for name, ms in counted.operators.items()
        if ms >= least
    ]


@dataclass(frozen=True)
class Ended:
    """What enters the last head."""

    x_MD: Tensor
    position_M: Tensor


def ended(encoder: AdaptiveEncoder, batch: Batch) -> Ended:
    found: list[Any] = []
    head = encoder.heads[str(encoder.shape.num_layers)]
    hook = head.register_forward_hook(lambda module, inputs, output: found.append(inputs[0]))
    try:
        encoder(batch)
    finally:
        hook.remove()
    return Ended(found[0].x_ND, found[0].position_N)


def checked(point: Point, mask_up_to: int) -> dict[str, float]:
    """How far the banded encoder is from the same one with a mask."""
    windowed = point.axis == "length" and point.contestant in (WINDOW, PRUNED)
    if not windowed or point.length > mask_up_to:
        return {}
    clock: Any = point.encoder.attention
    pattern: Longformer = clock.pattern
    batch = text([point.length], point.encoder.shape.vocab_size)
    masked = with_slots(point.encoder, attention=WithoutKernel(pattern.window))
    return difference(ended(point.encoder, batch), ended(masked, batch))


def difference(ours: Ended, theirs: Ended) -> dict[str, float]:
    """Over the tokens of one text that both kept."""
    both, ours_M, theirs_M = np.intersect1d(
        ours.position_M.numpy(), theirs.position_M.numpy(), return_indices=True
    )
    gap = (ours.x_MD[ours_M] - theirs.x_MD[theirs_M]).abs().max()
    return {"difference": float(gap), "kept_alike": len(both) / len(theirs.position_M)}
