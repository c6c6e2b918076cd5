"""Schedules for lists: chosen on some queries, certified on others.

Shapes: Q lists, T schedules.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
from jaxtyping import Float

from eat_lightning.record.claim import Claim, betting, holding
from eat_lightning.record.list_losses import layers_share, lost_Q
from eat_lightning.record.list_schedule import ListSchedule
from eat_lightning.record.record import Record

# Layers of all candidates that the loss of all wanted ones is taken to cost, from strict to lax.
PRICES = (1000.0, *(60 / 1.3**k for k in range(18)))
SWEEPS = 3
STEPS = 5  # between the schedules of two prices


def chain(select: Record) -> list[ListSchedule]:
    """Schedules from strict to lax, each cheaper on *select* than the one before."""
    at_prices = [ListSchedule({})]
    for price in PRICES:
        at_prices.append(descended(select, at_prices[-1], price))
    found: list[ListSchedule] = []
    least = 1.0
    for strict, lax in pairwise(at_prices):
        for schedule in between(strict, lax, longest(select)):
            cost = layers_share(select, select.replay(schedule))
            if cost < least:
                found, least = [*found, falling(schedule)], cost
    return found


def falling(schedule: ListSchedule) -> ListSchedule:
    """Leave out depths where no fewer may pass than before: they cost a guess and drop nobody."""
    counts: dict[int, int] = {}
    for depth, count in schedule.counts.items():
        if not counts or count < min(counts.values()):
            counts[depth] = count
    return ListSchedule(counts)


def between(strict: ListSchedule, lax: ListSchedule, largest: int) -> Iterator[ListSchedule]:
    """Go from one schedule to another in steps of about one factor, the last included.

    No price chooses the points between: they lie within the hull.
    """
    depths = sorted({*strict.counts, *lax.counts})
    from_D, to_D = ([x.counts.get(depth, largest) for depth in depths] for x in (strict, lax))
    for part in np.linspace(0, 1, STEPS + 1)[1:]:
        counts_D = np.round(np.power(from_D, 1 - part) * np.power(to_D, part)).astype(int)
        counts = dict(zip(depths, counts_D.tolist(), strict=True))
        yield ListSchedule({depth: count for depth, count in counts.items() if count < largest})


def descended(select: Record, schedule: ListSchedule, price: float) -> ListSchedule:
    """Choose the counts of all depths, one after another, by cost and what is lost at a price."""
    largest = longest(select)
    counts_16 = np.geomspace(select.keep or 1, largest, 16).astype(int)
    sizes = sorted({*counts_16.tolist()}, reverse=True)
    best, least = schedule, spent(select, schedule, price)
    for _ in range(SWEEPS):
        before = least
        for depth in range(len(select.tokens_LB)):
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


def spent(select: Record, schedule: ListSchedule, price: float) -> float:
    trace = select.replay(schedule)
    return layers_share(select, trace) + price * float(lost_Q(select, trace).mean())


def longest(select: Record) -> int:
    """Candidates of the longest list."""
    assert select.group_B is not None
    return int(np.bincount(select.group_B).max())


def certified(
    schedules: Sequence[ListSchedule], certify: Record, claim: Claim
) -> list[tuple[ListSchedule, float]]:
    """Test schedules one after another, from strict to lax, until one fails.

    Returns those that hold with their share of lost candidates, whose mean over lists is bounded.
    """
    losses_TQ = np.array(
        [lost_Q(certify, certify.replay(schedule)) for schedule in schedules]
    ).reshape(len(schedules), -1)
    p_T = claim.p_values(losses_TQ, binary=False)
    points = holding(range(len(schedules)), lambda t: float(p_T[t]), claim.error)
    return [(schedules[t], float(losses_TQ[t].mean())) for t in points]


def swapped_at_most(
    swapped_Q: Float[np.ndarray, " q"], confidence: float, num_schedules: int
) -> float:
    """Bound the mean share of swapped pairs, whichever of the schedules it is of (Bonferroni)."""
    error = (1 - confidence) / num_schedules
    levels = np.linspace(0.001, 0.5, 500)
    p_L = [float(betting(swapped_Q[None], level, error)[0]) for level in levels]
    return float(next((level for level, p in zip(levels, p_L, strict=True) if p <= error), 1.0))
