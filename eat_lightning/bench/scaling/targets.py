"""What the rows come to: ratios by turns, the ceiling that Amdahl's law sets, exponents, and which
targets are met.

Shapes: R repeats.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from eat_lightning.bench.scaling.fit import Exponent, exponent
from eat_lightning.bench.scaling.rows import GrowthRow
from eat_lightning.bench.scaling.subjects import (
    DENSE,
    DENSE_PRODUCT,
    PRUNED,
    WINDOW,
    WINDOW_PRODUCT,
)

SLOPE, MEMORY, PRODUCT, OF_CEILING, WHOLE, DIFFERENCE = 1.1, 1.1, 12.0, 0.85, 3.6, 1e-4


@dataclass(frozen=True)
class Ratio:
    """Of medians; low and high are over repeats, in which both took turns."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, found_R: np.ndarray) -> Ratio:
        return cls(float(np.median(found_R)), float(found_R.min()), float(found_R.max()))

    def __str__(self) -> str:
        digits = 1 if self.value >= 10 else 2
        return f"{self.value:.{digits}f} ({self.low:.{digits}f} to {self.high:.{digits}f})"


@dataclass(frozen=True)
class Length:
    """What each contestant took at a length; None where it was not run."""

    length: int
    rows: dict[str, GrowthRow]

    def faster(self, before: str, after: str) -> Ratio | None:
        if before not in self.rows or after not in self.rows:
            return None
        return Ratio.of(np.array(self.rows[before].ms_R) / np.array(self.rows[after].ms_R))

    @property
    def share_R(self) -> np.ndarray | None:
        """Of the dense encoder's time, what its attention product takes."""
        row = self.rows.get(DENSE)
        if row is None or row.attention_R is None:
            return None
        return np.array(row.attention_R) / np.array(row.ms_R)

    @property
    def ceiling(self) -> Ratio | None:
        """The speed-up of an attention product that takes no time (Amdahl 1967)."""
        return None if self.share_R is None else Ratio.of(1 / (1 - self.share_R))

    @property
    def of_ceiling(self) -> Ratio | None:
        """Measured speed-up / ceiling = the time of the rest / the window's time."""
        if self.share_R is None:
            return None
        rest_R = np.array(self.rows[DENSE].ms_R) * (1 - self.share_R)
        return Ratio.of(rest_R / np.array(self.rows[WINDOW].ms_R))


def lengths_of(rows: Sequence[GrowthRow]) -> list[Length]:
    own = [row for row in rows if row.axis == "length"]
    found: dict[int, dict[str, GrowthRow]] = {}
    for row in own:
        found.setdefault(row.length, {})[row.contestant] = row
    return [Length(length, found[length]) for length in sorted(found)]


@dataclass(frozen=True)
class Curve:
    """A contestant along an axis. `paper`: the exponent that Proposition 1 says, or "" where it
    says nothing; for the dense encoder it is that of large T."""

    axis: str
    contestant: str
    what: str  # "ms" or "peak_bytes"
    paper: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    fitted: Exponent


PAPER = {  # of a pass's cost; what it says of attention alone is its term of it
    ("length", DENSE): "2",
    ("length", DENSE_PRODUCT): "2",
    **{("length", name): "1" for name in (WINDOW, PRUNED, WINDOW_PRODUCT)},
    ("layers run", WINDOW): "1",
    ("retention", WINDOW): "1",
}


def curves_of(rows: Sequence[GrowthRow]) -> list[Curve]:
    """Each that has two points or more."""
    whats: dict[str, Callable[[GrowthRow], float]] = {
        "ms": lambda row: row.ms,
        "peak_bytes": lambda row: float(row.peak_bytes),
    }
    names = dict.fromkeys((row.axis, row.contestant) for row in rows)
    found = []
    for what, value in whats.items():
        for axis, contestant in names:
            own = [row for row in rows if (row.axis, row.contestant) == (axis, contestant)]
            x, y = tuple(row.size for row in own), tuple(map(value, own))
            if len(set(x)) > 1:
                paper = PAPER.get((axis, contestant), "") if what == "ms" else ""
                found.append(Curve(axis, contestant, what, paper, x, y, exponent(x, y)))
    return found


@dataclass(frozen=True)
class Target:
    what: str
    bound: float
    at_most: bool
    value: float
    text: str

    @property
    def met(self) -> bool:
        return self.value <= self.bound if self.at_most else self.value >= self.bound


def targets(rows: Sequence[GrowthRow], at: int) -> list[Target]:
    """Exponents over all lengths; ratios at `at` tokens."""
    found = []
    for curve in curves_of(rows):
        key = curve.axis, curve.contestant, curve.what
        for what, bound, title in (
            ("ms", SLOPE, "time's exponent in T"),
            ("peak_bytes", MEMORY, "memory's exponent in T"),
        ):
            if key in {("length", name, what) for name in (WINDOW, PRUNED)}:
                title = f"{title}, {curve.contestant}"
                found.append(Target(title, bound, True, curve.fitted.value, str(curve.fitted)))
    here = next(length for length in lengths_of(rows) if length.length == at)
    ratios = [
        (f"attention product alone at {at:,}", PRODUCT, here.faster(DENSE_PRODUCT, WINDOW_PRODUCT)),
        (f"window over dense at {at:,}, of the ceiling", OF_CEILING, here.of_ceiling),
        (f"window and pruning over dense at {at:,}", WHOLE, here.faster(DENSE, PRUNED)),
    ]
    found += [Target(what, least, False, r.value, str(r)) for what, least, r in ratios if r]
    gaps = [row.difference for row in rows if row.difference is not None]
    if gaps:
        what = f"difference from the masked product, {checked_lengths(rows)}"
        found.append(Target(what, DIFFERENCE, True, max(gaps), f"{max(gaps):.1e}"))
    return found


def checked_lengths(rows: Sequence[GrowthRow]) -> str:
    lengths = sorted({row.length for row in rows if row.difference is not None})
    return f"T up to {lengths[-1]:,}"
