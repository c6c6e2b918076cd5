"""Losses and cost of a replay of lists: best candidates that are lost, and pairs that are swapped.

Shapes: B candidates of all lists, Q lists, K places.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from eat_lightning.model.trace import Trace
from eat_lightning.record.claim import betting
from eat_lightning.record.lists import ranks
from eat_lightning.record.record import Record


def lost_Q(record: Record, trace: Trace) -> Float[np.ndarray, " q"]:
    """Return the share of each list's best candidates, by the labels, that are not returned."""
    assert record.group_B is not None
    assert record.keep is not None
    missed_B = record.wanted_B & (ranks(trace, record.group_B) >= record.keep)
    return np.bincount(record.group_B, missed_B) / record.keep


def swapped_Q(record: Record, trace: Trace) -> Float[np.ndarray, " q"]:
    """Return the share of pairs of each list's returned candidates whose order by the labels is the
    opposite: (1 - Kendall's tau) / 2. All lists return equally many."""
    list_B = record.group_B
    assert list_B is not None
    place_B = ranks(trace, list_B)
    returned = np.flatnonzero(place_B < record.keep)
    in_order = np.lexsort((place_B[returned], list_B[returned]))
    num_lists = int(list_B[-1]) + 1
    label_QK = record.labels[returned[in_order]].reshape(num_lists, -1)
    before, behind = np.triu_indices(label_QK.shape[1], k=1)
    if not len(before):
        return np.zeros(num_lists)
    return (label_QK[:, before] < label_QK[:, behind]).mean(1)


def layers_share(record: Record, trace: Trace) -> float:
    """Return the token-layers that were run, as a share of all."""
    lengths, layers = record.lengths, len(record.tokens_LB)
    return float((trace.depth_B * lengths).sum() / (layers * lengths.sum()))


def swapped_at_most(
    swapped_Q: Float[np.ndarray, " q"], confidence: float, num_schedules: int
) -> float:
    """Return an upper bound of the mean share of swapped pairs that holds for `num_schedules`
    schedules together (Bonferroni)."""
    error = (1 - confidence) / num_schedules
    levels = np.linspace(0.001, 0.5, 500)
    p_L = [float(betting(swapped_Q[None], level, error)[0]) for level in levels]
    return float(next((level for level, p in zip(levels, p_L, strict=True) if p <= error), 1.0))
