"""Times of settings, and their speed-ups.

Only times of one session, in which settings were timed in turns, are compared.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

from eat_lightning.report import cells
from eat_lightning.report.intervals import Interval, over_seeds
from eat_lightning.report.study import Mark
from eat_lightning.report.table import Cell
from eat_lightning.runs.row import Row

Cost = Callable[[Row], Interval | None]  # such as those below: single_ms, batch_ms
REPEATS = "in brackets the range over repeats and seeds"
EXTREMES = "in brackets the ratio of the repeats' extremes, a conservative interval"
ENDS = ("", "_low", "_high")  # of the names of a row's fields


def faster(point: Mark, other: Mark, time: Cost) -> Interval | None:
    """Speed-up of `point` over `other`, seed by seed.

    None if they were not timed in turns in one session. The interval's ends divide the extremes of
    the repeats.
    """
    ratios = []
    for mine in point.members:
        twin = next((m for m in other.members if m.row.seed == mine.row.seed), None)
        if twin is None or not mine.row.session == twin.row.session != "":
            return None
        a, b = time(mine.row), time(twin.row)
        if a is None or b is None:
            return None
        ratios.append(b.over(a))
    return over_seeds(ratios)


def single_ms(row: Row) -> Interval | None:
    """Mean milliseconds at batch 1; the interval's ends are over repeats."""
    if row.latency_ms is None:
        return None
    low, high = row.latency_low_ms, row.latency_high_ms
    return Interval(row.latency_ms, low or row.latency_ms, high or row.latency_ms)


def batch_ms(row: Row) -> Interval | None:
    """Milliseconds per example for batches in order of arrival."""
    return per_example(row.throughput, row.throughput_low, row.throughput_high)


def sorted_ms(row: Row) -> Interval | None:
    """Milliseconds per example for batches sorted by length."""
    return per_example(row.throughput_sorted, row.throughput_sorted_low, row.throughput_sorted_high)


def per_example(rate: float | None, low: float | None, high: float | None) -> Interval | None:
    return Interval(rate, low or rate, high or rate).inverse.times(1000) if rate else None


def speed_up(point: Mark, prefix: str = "") -> Interval | None:
    """Speed-up over own static, from the rows.

    Args:
        prefix: "batch_" for the batch size of throughput.
    """
    values, lows, highs = (point.values(f"{prefix}speed_up{end}") for end in ENDS)
    if not len(values) == len(lows) == len(highs) == len(point.members):
        return None
    return over_seeds([Interval(*ends) for ends in zip(values, lows, highs, strict=True)])


def multiplied(found: Sequence[Interval]) -> Interval:
    """Product of positive factors; the interval's ends multiply the extremes."""
    ends = ([each.value, each.low, each.high] for each in found)
    return Interval(*map(prod, zip(*ends, strict=True)))


def times(found: Interval | None, missing: str = "") -> Cell:
    """Cell of a factor, bold where its interval is above 1.

    Args:
        missing: the reason if there is no factor.
    """
    if found is None:
        return Cell(None, "", flags=(missing,) if missing else ())
    return cells.interval(found, against=1)
