"""Schedules for lists: chosen on some queries, certified on others.

Shapes: B pairs of all lists, Q lists, T schedules, W wanted candidates of all lists.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from eat_lightning.deploy.certify.procedure._bounds import betting, fixed_sequence
from eat_lightning.infer.list_record import ListRecord
from eat_lightning.infer.rerank import ListSchedule, places

# Shares of the wanted candidates that each depth alone lets pass, from strict to lax.
SHARES = (1.0, *(1 - 0.001 * 1.35**k for k in range(18)))


def scheduled(record: ListRecord, share: float) -> ListSchedule:
    """Let pass, behind each depth, so many that the share of the wanted would be among them."""
    counts: dict[int, int] = {}
    fewest = int(np.bincount(record.list_B).max())
    for depth, score_B in enumerate(record.score_DB[:-1]):
        place_W = np.sort(places(-score_B, record.list_B)[record.wanted_B])
        needed = int(place_W[max(0, int(np.ceil(share * len(place_W))) - 1)]) + 1
        if max(needed, record.keep) < fewest:
            fewest = counts[depth] = max(needed, record.keep)
    return ListSchedule(counts)


def chain(select: ListRecord) -> list[ListSchedule]:
    """Schedules from strict to lax, each cheaper on *select* than the one before."""
    found: list[ListSchedule] = []
    least = 1.0
    for share in SHARES:
        schedule = scheduled(select, share)
        cost = select.cost(schedule.replayed(select.score_DB, select.list_B))
        if cost < least:
            found, least = [*found, schedule], cost
    return found


def certified(
    schedules: Sequence[ListSchedule], certify: ListRecord, agree: float, confidence: float
) -> list[tuple[ListSchedule, float, float]]:
    """Test schedules one after another, from strict to lax, until one fails (Learn then Test).

    Returns those that hold with their share of lost candidates and its p-value. The mean loss of a
    list is bounded by betting; lists are the units.
    """
    losses_TQ = np.array(
        [certify.lost_Q(s.replayed(certify.score_DB, certify.list_B)) for s in schedules]
    ).reshape(len(schedules), -1)
    p_T = betting(losses_TQ, 1 - agree, 1 - confidence)
    holding = int(fixed_sequence(p_T, 1 - confidence))
    shares = zip(schedules, losses_TQ.mean(1).tolist(), p_T.tolist(), strict=True)
    return list(shares)[:holding]
