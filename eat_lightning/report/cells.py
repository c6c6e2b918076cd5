"""Cells of tables: numbers with intervals, what is doubtful flagged, bold only what is sure."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean, median, stdev

from eat_lightning.report.claim import EMPTY, Cell, Value
from eat_lightning.report.compare import Difference, accuracy_interval
from eat_lightning.report.statistics import Interval
from eat_lightning.report.study import Point

ONE_SEED = "one seed"
NO_EXAMPLES = "the examples' answers were not kept: no paired interval, no test"
SPANS_ZERO = "the interval spans zero"
SPANS_ONE = "the interval spans 1"
NOT_ABOVE = "not above the share of the largest class"
OTHER_EXAMPLES = "the examples beside the rows give another accuracy: measure again"


def words(value: Value) -> Cell:
    return Cell(value, "" if value is None else str(value))


def number(value: float | None, digits: int) -> Cell:
    return EMPTY if value is None else Cell(value, f"{value:.{digits}f}")


def several(point: Point, name: str) -> Cell:
    """A field's different values over seeds, as words."""
    found = dict.fromkeys(getattr(m.row, name) for m in point.members)
    texts = [f"{v:.3g}" if isinstance(v, float) else str(v) for v in found if v not in ("", None)]
    return words(", ".join(texts) or None)


def score(point: Point, name: str) -> Cell:
    """A metric x 100, mean ± sd over seeds."""
    mean = point.mean(name)
    return EMPTY if mean is None else Cell(100 * mean, with_sd(point, name))


def with_sd(point: Point, name: str) -> str:
    mean, sd = point.mean(name), point.sd(name)
    text = "" if mean is None else f"{100 * mean:.2f}"
    return text if sd is None else f"{text} ± {100 * sd:.2f}"


def over_seeds(values: Sequence[float | None], digits: int = 2) -> Cell:
    """Mean ± sd of values that are no field of rows; seeds without one are left out."""
    known = [value for value in values if value is not None]
    if not known:
        return EMPTY
    spread = f" ± {stdev(known):.{digits}f}" if len(known) > 1 else ""
    return Cell(mean(known), f"{mean(known):.{digits}f}{spread}")


def accuracy(point: Point) -> Cell:
    """In percent, mean ± sd over seeds, with its interval over examples."""
    mean = point.mean("accuracy")
    if mean is None:
        return EMPTY
    found, majority = accuracy_interval(point), point.row.majority or 0.0
    flags = [NOT_ABOVE] if mean <= majority else []
    flags += [OTHER_EXAMPLES] if abs(found.value - mean) > 1e-5 else []
    return Cell(
        100 * mean, with_sd(point, "accuracy"), 100 * found.low, 100 * found.high, tuple(flags)
    )


def points(found: Difference | None) -> Cell:
    """Percentage points; bold where its interval says that it is better."""
    if found is None:
        return EMPTY
    if found.interval is None:
        return Cell(found.points, f"{found.points:+.2f}", flags=(NO_EXAMPLES,))
    low, high = found.interval.low, found.interval.high
    if low == high == 0:
        return Cell(0.0, "0 (right on the same)", low, high)
    flags = () if found.interval.excludes_zero else (SPANS_ZERO,)
    return Cell(found.points, points_text(found), low, high, flags, bold=low > 0)


def points_text(found: Difference) -> str:
    """ "-0.57 (-1.95 to +0.80)" """
    if found.interval is None:
        return f"{found.points:+.2f}"
    return f"{found.points:+.2f} ({found.interval.low:+.2f} to {found.interval.high:+.2f})"


def p_value(found: Difference | None) -> Cell:
    """Over seeds the median, and the lowest and the highest."""
    if found is None or not found.p:
        return EMPTY
    low, middle, high = min(found.p), median(found.p), max(found.p)
    if len(found.p) == 1:
        return Cell(middle, short(middle))
    return Cell(middle, f"{short(middle)} ({short(low)} to {short(high)})", low, high)


def short(p: float) -> str:
    return "<0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def times(found: Interval | None, missing: str = "") -> Cell:
    """A factor; bold where its interval says that it is faster. `missing`: why there is none."""
    if found is None:
        return Cell(None, "", flags=(missing,) if missing else ())
    flags = (SPANS_ONE,) if found.low <= 1 <= found.high else ()
    return Cell(found.value, times_text(found), found.low, found.high, flags, bold=found.low > 1)


def times_text(found: Interval) -> str:
    return f"{found.value:.2f} ({found.low:.2f} to {found.high:.2f})"
