"""Fit the dial of a list: schedules from strict to lax, chosen on some queries.

Shapes: Q lists, D depths.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from eat_lightning.model.trace import Trace
from eat_lightning.record.dial import Dial, along
from eat_lightning.record.list_losses import layers_share, lost_Q
from eat_lightning.record.lists import Counts
from eat_lightning.record.point import Dtype, Point
from eat_lightning.record.record import Record

# Prices of a loss of 1, as a share of the layers of all candidates, from strict to lax.
PRICES = (1000.0, *(60 / 1.3**k for k in range(18)))
SWEEPS = 3  # of coordinate descent over the depths, at most
STEPS = 5  # between the schedules of two prices


def fit_lists(select: Record, dtype: Dtype = "fp32") -> Dial:
    """Return a dial of schedules, each cheaper on `select` than the one before. The first drops no
    candidate. Costs are shares of all token-layers."""

    def cost(_: Point, trace: Trace) -> float:
        return layers_share(select, trace)

    points = (Point(dtype=dtype, counts=counts) for counts in schedules(select))
    return Dial("share", [*along(points, select, cost)], int(select.labels.size))


def schedules(select: Record) -> Iterator[Counts]:
    """Yield the schedules at all prices, and some between each two of them."""
    yield {}
    strict: Counts = {}
    for price in PRICES:
        lax = descended(select, strict, price)
        for counts in between(strict, lax, longest(select)):
            yield falling(counts)
        strict = lax


def falling(counts: Counts) -> Counts:
    """Leave out depths with no smaller count than before, which cost a head and drop no
    candidate."""
    found: dict[int, int] = {}
    for depth, count in counts.items():
        if not found or count < min(found.values()):
            found[depth] = count
    return found


def between(strict: Counts, lax: Counts, largest: int) -> Iterator[Counts]:
    """Yield schedules on the way from one to another in steps of about equal ratio, the last one
    included. No price would choose those between, since they lie within the convex hull.
    """
    depths = sorted({*strict, *lax})
    from_D, to_D = ([x.get(depth, largest) for depth in depths] for x in (strict, lax))
    for part in np.linspace(0, 1, STEPS + 1)[1:]:
        counts_D = np.round(np.power(from_D, 1 - part) * np.power(to_D, part)).astype(int)
        counts = dict(zip(depths, counts_D.tolist(), strict=True))
        yield {depth: count for depth, count in counts.items() if count < largest}


def descended(select: Record, counts: Counts, price: float) -> Counts:
    """Improve a schedule depth by depth until the cost with priced losses is at a minimum."""
    largest = longest(select)
    counts_16 = np.geomspace(select.keep or 1, largest, 16).astype(int)
    sizes = sorted({*counts_16.tolist()}, reverse=True)
    best, least = counts, spent(select, counts, price)
    for _ in range(SWEEPS):
        before = least
        for depth in range(len(select.tokens_LB)):
            for size in sizes:
                others = {k: n for k, n in best.items() if k != depth}
                others |= {depth: size} if size < largest else {}
                tried = dict(sorted(others.items()))
                now = spent(select, tried, price)
                if now < least:
                    best, least = tried, now
        if least == before:
            break
    return best


def spent(select: Record, counts: Counts, price: float) -> float:
    """Return the cost of a schedule plus its loss at a price."""
    trace = select.replay(Point(counts=counts))
    return layers_share(select, trace) + price * float(lost_Q(select, trace).mean())


def longest(select: Record) -> int:
    """Return the number of candidates of the longest list."""
    assert select.group_B is not None
    return int(np.bincount(select.group_B).max())
