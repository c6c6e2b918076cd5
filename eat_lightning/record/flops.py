"""FLOPs of a record's examples, at a point and without methods.

Shapes: B examples (texts, if rows are windows), L layers, W windows that count.
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


def replay_with_flops(encoder: AdaptiveEncoder, record: Record, point: Point | ExitRule) -> Trace:
    """Replay a point or an exit rule, and count the FLOPs of each example in `encoder`; for a text,
    those of all windows that count. Where `encoder` answers first in another precision, both passes
    count."""
    if isinstance(point, Point) and point.before is not None:
        return replay_of_two(encoder, record, point)
    trace, exit = record.replay(point), record.rule(point)
    if trace.parts is None:
        spent_B = flops(encoder, exit, record.tokens_LB, trace.depth_B, record.lengths)
        return replace(trace, flops_B=spent_B)
    rows_W, depth_W = trace.parts.rows_B, trace.parts.depth_B
    assert record.group_B is not None
    tokens_LW, lengths_W = record.tokens_LB[:, rows_W], record.lengths[rows_W]
    spent_W = flops(encoder, exit, tokens_LW, depth_W, lengths_W)
    return replace(trace, flops_B=np.bincount(record.group_B[rows_W], spent_W))


def replay_of_two(encoder: AdaptiveEncoder, record: Record, point: Point) -> Trace:
    """Replay a point that falls back, and count the FLOPs of both passes."""
    assert record.before is not None
    assert point.before is not None
    first = replay_with_flops(encoder, record.before, point.before)
    second = replay_with_flops(encoder, replace(record, before=None), point.alone)
    trace = record.replay(point)
    goes_on_B = trace.depth_B > record.before.num_layers
    return replace(trace, flops_B=first.flops_B + np.where(goes_on_B, second.flops_B, 0))


def static_flops_of(encoder: AdaptiveEncoder, record: Record) -> np.ndarray:
    """Return the FLOPs of each example without exits or reduction (B); for a text, of all
    windows."""
    return record.sums(static_flops(encoder, record.lengths))
