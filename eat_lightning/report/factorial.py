"""The paper's three parts on or off: which settings of a study are its eight cells, what each part
does to cost and accuracy, and whether savings multiply.

Shapes: S seeds, B examples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import exp, log, prod

import numpy as np

from eat_lightning.measure.settings import THEIRS
from eat_lightning.report.claim import Source
from eat_lightning.report.compare import (
    Difference,
    Time,
    batch_ms,
    difference,
    faster,
    same_examples,
    single_ms,
    source_of,
    speed_up,
)
from eat_lightning.report.statistics import Interval, mean_interval
from eat_lightning.report.study import Measured, Point, Study

PARTS = {  # each with its slot and the method that is none
    "pruning": ("reduction", "none"),
    "window": ("attention", "dense"),
    "exits": ("exit", "never"),
}
TAU = 0.9  # of several rows of a cell the one whose tau is nearest to this
OFF = (False, False, False)
SAME = (
    *("study", "task", "model", "encoder", "num_layers", "split", "weights", "device", "threads"),
)

Cell = tuple[bool, ...]  # whether each of PARTS is on


def cell_of(m: Measured) -> Cell:
    return tuple(getattr(m.row, slot)["kind"] != none for slot, none in PARTS.values())


def parts_of(cell: Cell) -> list[str]:
    return [part for part, on in zip(PARTS, cell, strict=True) if on]


def name_of(cell: Cell) -> str:
    return " + ".join(parts_of(cell)) or "none of them"


@dataclass
class Factorial:
    """Cells of one body, each over seeds. `trained`: every cell was trained as it is measured; else
    one model's parts were switched off when it was measured."""

    cells: dict[Cell, Point]
    trained: bool

    @property
    def off(self) -> Point:
        return self.cells[OFF]

    @property
    def all(self) -> Cell:
        """Everything on that is on anywhere."""
        return tuple(any(ons) for ons in zip(*self.cells, strict=True))

    @property
    def missing(self) -> list[Cell]:
        return [cell for cell in below(self.all) if cell not in self.cells]

    def source(self, *cells: Cell) -> Source:
        """Of a number that these cells are behind. Of parts that were switched off for measuring,
        the command says so; of several cells it is that of the first."""
        found = source_of(Point([m for cell in cells for m in self.cells[cell].members]))
        if self.trained:
            return found
        slots = zip(PARTS.values(), self.all, cells[0], strict=True)
        off = [f"{slot}={none}" for (slot, none), could, on in slots if could and not on]
        command = " ".join([source_of(self.cells[cells[0]]).command, *off])
        return replace(found, command=command)

    def difference(self, cell: Cell) -> Difference | None:
        return None if cell == OFF else difference(self.cells[cell], self.off)

    def flops(self, cell: Cell) -> Interval:
        """How many times fewer FLOPs than with nothing on."""
        factor = (self.off.mean("flops") or 1.0) / (self.cells[cell].mean("flops") or 1.0)
        return Interval(factor, factor, factor)

    def single(self, cell: Cell) -> Interval | None:
        """How many times as fast as with nothing on, at batch 1."""
        return self.faster(cell, single_ms, "")

    def batch(self, cell: Cell) -> Interval | None:
        """The same in batches, as they come."""
        return self.faster(cell, batch_ms, "batch_")

    def faster(self, cell: Cell, time: Time, prefix: str) -> Interval | None:
        """Within one session; of a model whose parts were switched off the rows' own speed-up will
        do, since own static is the cell with nothing on."""
        if cell == OFF:
            return Interval(1.0, 1.0, 1.0)
        found = faster(self.cells[cell], self.off, time)
        return found if found or self.trained else speed_up(self.cells[cell], prefix)


Factor = Callable[[Cell], Interval | None]


def multiplied(factorial: Factorial, cell: Cell, of: Factor) -> Interval | None:
    """What a cell's factor would be if those of its parts alone multiplied; None where one of them
    is not known."""
    alone = [of(one) for one in map(single, parts_of(cell)) if one in factorial.cells]
    if len(alone) < sum(cell) or any(found is None for found in alone):
        return None
    ends = ("value", "low", "high")
    return Interval(*(prod(getattr(found, end) for found in alone) for end in ends))


def costs(factorial: Factorial) -> dict[str, tuple[str, Factor]]:
    """What may be saved: a name, and the factor by which a cell has less of it."""
    batch = factorial.off.row.throughput_batch
    found: dict[str, tuple[str, Factor]] = {"flops": ("FLOPs", factorial.flops)}
    if factorial.off.timed:
        found["single"] = "time, batch 1", factorial.single
        found["batch"] = f"time, batch {batch}", factorial.batch
    return found


def single(part: str) -> Cell:
    return tuple(other == part for other in PARTS)


def below(cell: Cell) -> list[Cell]:
    """All cells whose parts are among this one's, those with fewer parts first."""
    found = product(*([False, True] if on else [False] for on in cell))
    return sorted(found, key=lambda one: (sum(one), [not on for on in one]))


def terms(factorial: Factorial) -> list[Cell]:
    """Main effects and interactions of the parts that vary."""
    return below(factorial.all)[1:]


def contrast(factorial: Factorial, term: Cell) -> Iterator[tuple[float, Cell]]:
    """The weight of each cell in a term: of a main effect the mean of on - off; of an interaction
    by how much one part changes the effect of the other; each over all settings of the rest."""
    rest = sum(factorial.all) - sum(term)
    for cell in below(factorial.all):
        unlike = sum(on and not mine for on, mine in zip(term, cell, strict=True))
        yield (-1) ** unlike / 2**rest, cell


def effect(factorial: Factorial, term: Cell, of: Factor) -> float | None:
    """A term of the logarithm of a factor, as a factor: an interaction of 1 says that savings
    multiply. None where a cell is missing or was not timed."""
    if factorial.missing:
        return None
    found = [(weight, of(cell)) for weight, cell in contrast(factorial, term)]
    if any(value is None for _, value in found):
        return None
    return exp(sum(weight * log(value.value) for weight, value in found if value is not None))


def accuracy_effect(factorial: Factorial, term: Cell) -> Interval | None:
    """A term of accuracy in points, with its paired interval over examples, seeds averaged."""
    if factorial.missing:
        return None
    weighted = []
    for weight, cell in contrast(factorial, term):
        correct_SB = factorial.cells[cell].correct_SB()
        if correct_SB is None or not same_examples(factorial.cells[cell], factorial.off):
            return None
        weighted.append(weight * correct_SB.mean(0))
    return mean_interval(np.sum(weighted, axis=0)).times(100)


# From rows to cells


def factorials(study: Study, task: str) -> list[Factorial]:
    """Of each body: the cells that were trained, if that is more than nothing and one other; and
    each model that was measured with every combination of its parts switched off."""
    found = []
    for rows in alike(study, task).values():
        runs = by_run(rows)
        own = {
            run: tuple(map(any, zip(*map(cell_of, ms), strict=True))) for run, ms in runs.items()
        }
        trained = [m for run, ms in runs.items() for m in ms if cell_of(m) == own[run]]
        whole = Factorial(cells_of(trained), True)
        found += [whole] if OFF in whole.cells and len(whole.cells) > 2 else []
        for cell in sorted({c for c in own.values() if sum(c) > 1}):
            same = [m for run, ms in runs.items() if own[run] == cell for m in ms]
            switched = Factorial(cells_of(same), False)
            found += [switched] if not switched.missing else []
    return found


def alike(study: Study, task: str) -> dict[tuple[str, ...], list[Measured]]:
    """Rows on our kernels by what they must share to be compared."""
    found: dict[tuple[str, ...], list[Measured]] = {}
    for m in study.measured:
        if m.row.task == task and m.row.baseline != THEIRS:
            found.setdefault(tuple(str(getattr(m.row, name)) for name in SAME), []).append(m)
    return found


def by_run(rows: Sequence[Measured]) -> dict[tuple[str, str], list[Measured]]:
    found: dict[tuple[str, str], list[Measured]] = {}
    for m in rows:
        found.setdefault((str(m.folder), m.row.run), []).append(m)
    return found


def cells_of(rows: Sequence[Measured]) -> dict[Cell, Point]:
    """A row of each run and cell, as points over seeds."""
    best: dict[tuple[Cell, str, str], Measured] = {}
    for m in sorted(rows, key=far):
        best.setdefault((cell_of(m), str(m.folder), m.row.run), m)
    found: dict[Cell, list[Measured]] = {}
    for (cell, *_), m in best.items():
        found.setdefault(cell, []).append(m)
    return {
        c: Point(sorted(found[c], key=lambda m: m.row.seed))
        for c in below((True,) * 3)
        if c in found
    }


def far(m: Measured) -> float:
    """How far a row's tau is from the usual one."""
    return abs(m.row.point - TAU) if isinstance(m.row.point, float) else 0.0
