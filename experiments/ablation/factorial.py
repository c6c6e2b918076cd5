"""The paper's three parts on or off: which settings of a study are its eight cells, what each part
does to cost and accuracy, and whether savings multiply.

Shapes: S seeds, B examples.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import product
from math import exp, log, prod
from typing import TypeVar

import numpy as np

from eat_lightning.report.claim import Source
from eat_lightning.report.compare import (
    Cost,
    Difference,
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
from eat_lightning.runs.row import THEIRS

PARTS = {  # each with its slot and the method that is none
    "pruning": ("reduction", "none"),
    "window": ("attention", "dense"),
    "exits": ("exit", "never"),
}
USUAL = 0.9  # of several rows of a cell the one whose operating point is nearest to this
OFF = (False, False, False)
BODY = ("study", "task", "model", "encoder", "num_layers")
SAME = (*BODY, "split", "weights", "device", "threads")

Cell = tuple[bool, ...]  # whether each of PARTS is on
T = TypeVar("T")


def cell_of(m: Measured) -> Cell:
    return tuple(getattr(m.row, slot)["kind"] != none for slot, none in PARTS.values())


def parts_of(cell: Cell) -> list[str]:
    return [part for part, on in zip(PARTS, cell, strict=True) if on]


def name_of(cell: Cell) -> str:
    return " + ".join(parts_of(cell)) or "none of them"


def single(part: str) -> Cell:
    return tuple(other == part for other in PARTS)


def below(cell: Cell) -> list[Cell]:
    """All cells whose parts are among this one's, those with fewer parts first."""
    found = product(*([False, True] if on else [False] for on in cell))
    return sorted(found, key=lambda one: (sum(one), [not on for on in one]))


@dataclass(frozen=True)
class Saving:
    """A kind of cost, and the factor by which a cell has less of it than with nothing on; None
    where it was not measured."""

    key: str
    title: str
    of: Callable[[Cell], Interval | None]

    def share(self, cell: Cell) -> Interval | None:
        """The cost as a share of that with nothing on."""
        found = self.of(cell)
        return found and found.inverse


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

    @property
    def savings(self) -> list[Saving]:
        found = [Saving("flops", "FLOPs", self.flops)]
        if self.off.timed:
            batch = f"time, batch {self.off.row.throughput_batch}"
            found += [Saving("single", "time, batch 1", self.single)]
            found += [Saving("batch", batch, self.batch)]
        return found

    def source(self, *cells: Cell) -> Source:
        """What a number of these cells comes from. The command names the parts that were switched
        off for measuring; for several cells it is that of the first."""
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
        here = self.cells[cell].mean("flops") or 1.0
        return Interval.exact((self.off.mean("flops") or 1.0) / here)

    def single(self, cell: Cell) -> Interval | None:
        """How many times as fast as with nothing on, at batch 1."""
        return self.faster(cell, single_ms, "")

    def batch(self, cell: Cell) -> Interval | None:
        """The same in batches, as they come."""
        return self.faster(cell, batch_ms, "batch_")

    def faster(self, cell: Cell, time: Cost, prefix: str) -> Interval | None:
        """Within one session; of a model whose parts were switched off the rows' own speed-up will
        do, since own static is the cell with nothing on."""
        if not self.cells[cell].timed:
            return None
        if cell == OFF:
            return Interval.exact(1.0)
        found = faster(self.cells[cell], self.off, time)
        return found if found or self.trained else speed_up(self.cells[cell], prefix)

    def multiplied(self, cell: Cell, saving: Saving) -> Interval | None:
        """What a cell's factor would be if those of its parts alone multiplied; None where one of
        them is not known, and for a cell with fewer than two parts."""
        parts = [one for one in map(single, parts_of(cell)) if one in self.cells]
        alone = [found for one in parts if (found := saving.of(one)) is not None]
        if sum(cell) < 2 or len(alone) < sum(cell):
            return None
        ends = ("value", "low", "high")
        return Interval(*(prod(getattr(found, end) for found in alone) for end in ends))

    def contrast(self, term: Cell) -> Iterator[tuple[float, Cell]]:
        """The weight of each cell in a term: of a main effect the mean of on - off; of an
        interaction by how much one part changes the effect of the other; each over all settings of
        the rest."""
        rest = sum(self.all) - sum(term)
        for cell in below(self.all):
            unlike = sum(on and not mine for on, mine in zip(term, cell, strict=True))
            yield (-1) ** unlike / 2**rest, cell

    def effect(self, term: Cell, saving: Saving) -> float | None:
        """A term of the logarithm of a factor, as a factor: an interaction of 1 says that savings
        multiply. None where a cell is missing or was not timed."""
        if self.missing:
            return None
        found = [(weight, saving.of(cell)) for weight, cell in self.contrast(term)]
        known = [weight * log(value.value) for weight, value in found if value is not None]
        return exp(sum(known)) if len(known) == len(found) else None

    def accuracy_effect(self, term: Cell) -> Interval | None:
        """A term of accuracy in points, with its paired interval over examples, seeds averaged."""
        if self.missing:
            return None
        weighted = []
        for weight, cell in self.contrast(term):
            correct_SB = self.cells[cell].correct_SB()
            if correct_SB is None or not same_examples(self.cells[cell], self.off):
                return None
            weighted.append(weight * correct_SB.mean(0))
        return mean_interval(np.sum(weighted, axis=0)).times(100)


def factorials(study: Study, task: str) -> list[Factorial]:
    """Find for each body the cells that were trained, if that is more than nothing and one other;
    and each model that was measured with every combination of its parts switched off."""
    ours = [m for m in study.measured if m.row.task == task and m.row.baseline != THEIRS]
    found = []
    for rows in grouped(ours, lambda m: tuple(str(getattr(m.row, name)) for name in SAME)):
        runs = grouped(rows, lambda m: (str(m.folder), m.row.run))
        own = [tuple(map(any, zip(*map(cell_of, run), strict=True))) for run in runs]
        each = list(zip(own, runs, strict=True))
        trained = [m for cell, run in each for m in run if cell_of(m) == cell]
        whole = Factorial(cells_of(trained), True)
        found += [whole] if OFF in whole.cells and len(whole.cells) > 2 else []
        for cell in sorted({c for c in own if sum(c) > 1}):
            same = [m for mine, run in each if mine == cell for m in run]
            switched = Factorial(cells_of(same), False)
            found += [] if switched.missing else [switched]
    return found


def grouped(items: Iterable[T], key: Callable[[T], Hashable]) -> list[list[T]]:
    found: dict[Hashable, list[T]] = {}
    for item in items:
        found.setdefault(key(item), []).append(item)
    return list(found.values())


def cells_of(rows: Iterable[Measured]) -> dict[Cell, Point]:
    """A row of each run for each cell, as a point over seeds."""
    runs = grouped(rows, lambda m: (cell_of(m), str(m.folder), m.row.run))
    usual = [min(run, key=far) for run in runs]
    cells = {cell_of(ms[0]): ms for ms in grouped(usual, cell_of)}
    by_seed = {cell: sorted(ms, key=lambda m: m.row.seed) for cell, ms in cells.items()}
    return {cell: Point(by_seed[cell]) for cell in below((True, True, True)) if cell in by_seed}


def far(m: Measured) -> float:
    """How far a row's operating point is from the usual one."""
    return abs(m.row.point - USUAL) if isinstance(m.row.point, float) else 0.0
