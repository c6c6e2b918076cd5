"""FLOPs of recorded examples, under a rule and with everything off.

Shapes: B examples (of a record of texts: texts).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from eat_lightning.model.contracts import ExitRule
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.flops import flops, static_flops
from eat_lightning.model.trace import Trace
from eat_lightning.record.point import Point
from eat_lightning.record.record import Record


def counted(encoder: AdaptiveEncoder, record: Record, point: Point | ExitRule) -> Trace:
    """Replay a point, or an exit rule, on what `encoder` said, with the FLOPs of each example; of a
    text, of all windows that count. Where it answered in another precision before, both passes
    count."""
    if isinstance(point, Point) and point.before is not None:
        return counted_twice(encoder, record, point)
    trace, exit = record.replay(point), record.rule(point)
    if trace.parts is None:
        spent_B = flops(encoder, exit, record.tokens_LB, trace.depth_B, record.lengths)
        return replace(trace, flops_B=spent_B)
    rows_W, depth_W = trace.parts.rows_B, trace.parts.depth_B
    assert record.group_B is not None
    tokens_LW, lengths_W = record.tokens_LB[:, rows_W], record.lengths[rows_W]
    spent_W = flops(encoder, exit, tokens_LW, depth_W, lengths_W)
    return replace(trace, flops_B=np.bincount(record.group_B[rows_W], spent_W))


def counted_twice(encoder: AdaptiveEncoder, record: Record, point: Point) -> Trace:
    """As `counted`, of a point that falls back."""
    assert record.before is not None
    assert point.before is not None
    first = counted(encoder, record.before, point.before)
    second = counted(encoder, replace(record, before=None), point.alone)
    trace = record.replay(point)
    goes_on_B = trace.depth_B > record.before.num_layers
    return replace(trace, flops_B=first.flops_B + np.where(goes_on_B, second.flops_B, 0))


def static_flops_of(encoder: AdaptiveEncoder, record: Record) -> np.ndarray:
    """Count the FLOPs of each example without exits or reduction (B); of a text, of all windows."""
    return record.sums(static_flops(encoder, record.lengths))
