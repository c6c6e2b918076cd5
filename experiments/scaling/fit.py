"""Summaries of the rows: exponents, ratios by turns, and the ceiling that Amdahl's law sets.

Shapes: R repeats.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from experiments.bench.tables import ranged
from experiments.scaling.points import (
    DENSE,
    DENSE_PRODUCT,
    PRODUCT,
    PRUNED,
    WINDOW,
    WINDOW_PRODUCT,
)
from experiments.scaling.rows import ScalingRow

LEVEL = 0.95
PAPER = {  # exponents of a pass's cost in Proposition 1; for dense attention, of large T
    ("length", DENSE): 2,
    ("length", DENSE_PRODUCT): 2,
    ("length", WINDOW): 1,
    ("length", PRUNED): 1,
    ("length", WINDOW_PRODUCT): 1,
    ("layers run", WINDOW): 1,
    ("retention", WINDOW): 1,
}


@dataclass(frozen=True)
class Exponent:
    """Slope of log y against log x by least squares (y = a x^b has slope b).

    low and high: the 95 % interval of a slope with normal errors (Student's t on the points less
    two). With two points the line goes through both, and there is none: NaN."""

    value: float
    low: float
    high: float
    factor: float  # y where x is 1

    def at(self, x: float) -> float:
        return self.factor * x**self.value

    def __str__(self) -> str:
        if np.isnan(self.low):
            return f"{self.value:.2f}"
        return ranged((self.value, self.low, self.high))


def exponent(x: Sequence[float], y: Sequence[float]) -> Exponent:
    """ValueError for fewer than two different x."""
    from scipy.stats import linregress, t

    if len(set(x)) < 2:
        raise ValueError(f"an exponent needs two different values, got {sorted(set(x))}")
    line: Any = linregress(np.log(x), np.log(y))
    free = len(x) - 2
    reach = t.ppf((1 + LEVEL) / 2, free) * line.stderr if free else np.nan
    found = line.slope, line.slope - reach, line.slope + reach, np.exp(line.intercept)
    return Exponent(*map(float, found))


@dataclass(frozen=True)
class Curve:
    """A candidate along an axis. paper: the exponent of Proposition 1, None where it says none."""

    axis: str
    candidate: str
    what: str  # "ms" or "peak_bytes"
    paper: int | None
    x: tuple[float, ...]
    y: tuple[float, ...]
    fitted: Exponent


def curves_of(rows: Sequence[ScalingRow]) -> list[Curve]:
    """Each that has two points or more."""
    found = []
    for what in ("ms", "peak_bytes"):
        for axis, candidate in dict.fromkeys((row.axis, row.candidate) for row in rows):
            own = [row for row in rows if (row.axis, row.candidate) == (axis, candidate)]
            x, y = tuple(row.size for row in own), tuple(float(getattr(row, what)) for row in own)
            if len(set(x)) > 1:
                paper = PAPER.get((axis, candidate)) if what == "ms" else None
                found.append(Curve(axis, candidate, what, paper, x, y, exponent(x, y)))
    return found


Rows = dict[str, ScalingRow]  # those of one length by candidate


def lengths_of(rows: Sequence[ScalingRow]) -> dict[int, Rows]:
    found: dict[int, Rows] = {}
    for row in sorted(rows, key=lambda row: row.length):
        if row.axis == "length":
            found.setdefault(row.length, {})[row.candidate] = row
    return found


def ratios(at: Rows) -> dict[str, np.ndarray]:
    """By turns (R), as far as the candidates ran. Attention's share is that of its product in the
    dense encoder's time; the ceiling is the speed-up of a product that takes no time (Amdahl
    1967)."""
    ms = {name: np.array(row.ms_R) for name, row in at.items()}
    pairs = {
        "product alone, dense / window": (DENSE_PRODUCT, WINDOW_PRODUCT),
        "dense / window": (DENSE, WINDOW),
        "dense / window, pruned": (DENSE, PRUNED),
    }
    named = {DENSE, WINDOW, PRUNED}
    others = [name for name in at if name not in named and not name.endswith(PRODUCT)]
    pairs |= {f"{DENSE} / {name}": (DENSE, name) for name in others}
    found = {what: ms[a] / ms[b] for what, (a, b) in pairs.items() if a in ms and b in ms}
    if DENSE in at and at[DENSE].attention_R is not None:
        share_R = np.array(at[DENSE].attention_R) / ms[DENSE]
        found |= {"attention's share": share_R, "ceiling": 1 / (1 - share_R)}
        found["of the ceiling"] = found["dense / window"] / found["ceiling"]
    return found


def spread(value_R: np.ndarray) -> str:
    """Median, lowest and highest of the repeats."""
    value = float(np.median(value_R))
    return ranged((value, value_R.min(), value_R.max()), 1 if value >= 10 else 2)
