"""Table cells: numbers with intervals. Doubtful ones are flagged, and bold ones are significant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from statistics import mean, median, stdev

from eat_lightning.report.difference import Difference, accuracy_interval
from eat_lightning.report.intervals import Interval
from eat_lightning.report.study import Mark
from eat_lightning.report.table import EMPTY, Cell, Value

ONE_SEED = "one seed"
OTHER_COMMIT = "measured at another commit than most of the table"
SPANS_ZERO = "the interval spans zero"
SPANS_ONE = "the interval spans 1"
NOT_ABOVE = "not above the share of the largest class"
OTHER_EXAMPLES = "the examples beside the rows give another accuracy: measure again"


def words(value: Value) -> Cell:
    return Cell(value, "" if value is None else str(value))


def number(value: float | None, digits: int) -> Cell:
    return EMPTY if value is None else Cell(value, f"{value:.{digits}f}")


def interval(
    found: Interval | None,
    digits: int = 2,
    sign: str = "",
    against: int | None = None,
    lower: bool = False,
) -> Cell:
    """Format a number with its interval: "1.94 (1.88 to 1.99)".

    Args:
        against: the value of no effect, 0 or 1. The cell is flagged where the interval spans it,
            and bold where the whole interval is above it.
        lower: bold where the whole interval is below it instead.
    """
    if found is None:
        return EMPTY
    if against == found.low == found.high == 0:
        return Cell(0.0, "0", 0.0, 0.0)
    flags, bold = (), False
    if against is not None:
        spans = found.low <= against <= found.high
        flags = ((SPANS_ONE if against else SPANS_ZERO),) if spans else ()
        bold = found.high < against if lower else found.low > against
    return Cell(found.value, found.text(digits, sign), found.low, found.high, flags, bold)


def percent(share: Interval | None, digits: int = 1) -> Cell:
    """A share with its interval, in percent: "62.5 (30.6 to 86.3)"."""
    return interval(share and share.times(100), digits)


def percent_text(share: Interval) -> str:
    """ "62.5 % (30.6 to 86.3)" """
    return share.times(100).text(1, unit=" %")


def several(point: Mark, name: str) -> Cell:
    """The distinct values of a field over seeds, as text."""
    found = dict.fromkeys(getattr(m.row, name) for m in point.members)
    texts = [f"{v:.3g}" if isinstance(v, float) else str(v) for v in found if v not in ("", None)]
    return words(", ".join(texts) or None)


def seeds(point: Mark) -> Cell:
    """ "3 (1, 2, 3)" """
    names = dict.fromkeys(point.seeds)
    return words(f"{len(names)} ({', '.join(map(str, names))})")


def over_seeds(values: Sequence[float | None], digits: int = 2) -> Cell:
    """Mean ± sd over the seeds that have a value."""
    known = [value for value in values if value is not None]
    if not known:
        return EMPTY
    spread = f" ± {stdev(known):.{digits}f}" if len(known) > 1 else ""
    return Cell(mean(known), f"{mean(known):.{digits}f}{spread}")


def score(point: Mark, name: str) -> Cell:
    """A metric x 100, mean ± sd over seeds."""
    return over_seeds([100 * value for value in point.values(name)])


def accuracy(point: Mark) -> Cell:
    """Accuracy in percent, mean ± sd over seeds, with its interval over examples."""
    value = point.mean("accuracy")
    if value is None:
        return EMPTY
    found, majority = accuracy_interval(point), point.row.majority or 0.0
    flags = [NOT_ABOVE] if value <= majority else []
    flags += [OTHER_EXAMPLES] if abs(found.value - value) > 1e-5 else []
    low, high = 100 * found.low, 100 * found.high
    return Cell(100 * value, score(point, "accuracy").text, low, high, tuple(flags))


def points(found: Difference | None) -> Cell:
    """A difference in percentage points; bold where its interval is above 0."""
    if found is None:
        return EMPTY
    if found.interval is None:
        return Cell(found.points, points_text(found), flags=(found.lacking,))
    if found.interval.low == found.interval.high == 0:
        return Cell(0.0, "0 (right on the same)", 0.0, 0.0)
    cell = interval(found.interval, sign="+", against=0)
    return replace(cell, flags=(*cell.flags, found.seeds)) if found.seeds else cell


def points_text(found: Difference) -> str:
    """ "-0.57 (-1.95 to +0.80)" """
    interval = found.interval
    return f"{found.points:+.2f}" if interval is None else interval.text(sign="+")


def p_value(found: Difference | None) -> Cell:
    """The median p over seeds, with the lowest and the highest."""
    if found is None or not found.p:
        return EMPTY
    low, middle, high = min(found.p), median(found.p), max(found.p)
    if len(found.p) == 1:
        return Cell(middle, short(middle))
    return Cell(middle, f"{short(middle)} ({short(low)} to {short(high)})", low, high)


def short(p: float) -> str:
    return "<0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"
