"""Schedules for lists: chosen on some queries, certified on others.

Shapes: Q lists, T schedules.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from eat_lightning.deploy.certify.procedure._bounds import betting, fixed_sequence
from eat_lightning.infer.list_record import ListRecord
from eat_lightning.infer.rerank import ListSchedule, Reranked

# Layers of all candidates that the loss of all wanted ones is taken to cost, from strict to lax.
PRICES = (1000.0, *(60 / 1.2**k for k in range(25)))
SWEEPS = 3


def chain(select: ListRecord) -> list[ListSchedule]:
    """Schedules from strict to lax, each cheaper on *select* than the one before."""
    found: list[ListSchedule] = []
    schedule, least = ListSchedule({}), 1.0
    for price in PRICES:
        schedule = descended(select, schedule, price)
        cost = select.cost(replayed(select, schedule))
        if cost < least:
            found, least = [*found, schedule], cost
    return found


def descended(select: ListRecord, schedule: ListSchedule, price: float) -> ListSchedule:
    """Choose the counts of all depths, one after another, by cost and what is lost at a price."""
    largest = int(np.bincount(select.list_B).max())
    sizes = sorted({*np.geomspace(select.keep, largest, 16).astype(int).tolist()}, reverse=True)
    best, least = schedule, spent(select, schedule, price)
    for _ in range(SWEEPS):
        before = least
        for depth in range(len(select.score_DB) - 1):
            for size in sizes:
                counts = {k: n for k, n in best.counts.items() if k != depth}
                counts |= {depth: size} if size < largest else {}
                tried = ListSchedule(dict(sorted(counts.items())))
                now = spent(select, tried, price)
                if now < least:
                    best, least = tried, now
        if least == before:
            break
    return best


def spent(select: ListRecord, schedule: ListSchedule, price: float) -> float:
    found = replayed(select, schedule)
    return select.cost(found) + price * float(select.lost_Q(found).mean())


def replayed(record: ListRecord, schedule: ListSchedule) -> Reranked:
    return schedule.replayed(record.score_DB, record.list_B)


def certified(
    schedules: Sequence[ListSchedule], certify: ListRecord, agree: float, confidence: float
) -> list[tuple[ListSchedule, float, float]]:
    """Test schedules one after another, from strict to lax, until one fails (Learn then Test).

    Returns those that hold with their share of lost candidates and its p-value. The mean loss of a
    list is bounded by betting; lists are the units.
    """
    losses_TQ = np.array(
        [certify.lost_Q(replayed(certify, schedule)) for schedule in schedules]
    ).reshape(len(schedules), -1)
    p_T = betting(losses_TQ, 1 - agree, 1 - confidence)
    holding = int(fixed_sequence(p_T, 1 - confidence))
    shares = zip(schedules, losses_TQ.mean(1).tolist(), p_T.tolist(), strict=True)
    return list(shares)[:holding]
