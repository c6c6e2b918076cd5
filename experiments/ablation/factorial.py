"""The paper's three parts on or off: which settings of a study are its eight cells, what each part
does to cost and accuracy, and whether savings multiply.

Shapes: S seeds, B examples.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product
from math import exp, log, prod

import numpy as np

from eat_lightning.report import speed
from eat_lightning.report.difference import Difference, difference, same_examples
from eat_lightning.report.intervals import Interval, mean_interval
from eat_lightning.report.study import Measured, Point, Study, grouped_by
from eat_lightning.runs.row import THEIRS

PARTS = {  # each with its slot and the method that is none
    "pruning": ("reduction", "none"),
    "window": ("attention", "dense"),
    "exits": ("exit", "never"),
}
USUAL = 0.9  # of several rows of a cell the one whose operating point is nearest to this
OFF = (False, False, False)
SAME = ("study", "task", "model", "encoder", "num_layers", "split", "weights", "device", "threads")
TIMES = {"single": (speed.single_ms, ""), "batch": (speed.batch_ms, "batch_")}

Cell = tuple[bool, ...]  # whether each of PARTS is on


def cell_of(m: Measured) -> Cell:
    return tuple(getattr(m.row, slot).kind != none for slot, none in PARTS.values())


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


class Factorial:
    """Cells of one body, each over seeds. `trained`: every cell was trained as it is measured; else
    one model's parts were switched off when it was measured. `all`: everything that is on anywhere.
    `savings`: for each kind of cost (titles) the factor by which a cell has less of it than with
    nothing on, where that was measured."""

    def __init__(self, cells: dict[Cell, Point], trained: bool):
        self.cells, self.trained, self.off = cells, trained, cells[OFF]
        self.all = tuple(any(ons) for ons in zip(*cells, strict=True))
        self.missing = [cell for cell in below(self.all) if cell not in cells]
        self.titles = {"flops": "FLOPs"}
        if self.off.timed:
            batch = f"time, batch {self.off.row.throughput_batch}"
            self.titles |= {"single": "time, batch 1", "batch": batch}
        flops = {cell: point.mean("flops") or 1.0 for cell, point in cells.items()}
        self.savings = {"flops": {c: Interval.exact(flops[OFF] / flops[c]) for c in cells}}
        for key in TIMES:
            found = {cell: self.faster(cell, key) for cell in cells}
            self.savings[key] = {cell: factor for cell, factor in found.items() if factor}

    def faster(self, cell: Cell, key: str) -> Interval | None:
        """Within one session; of a model whose parts were switched off the rows' own speed-up will
        do, since own static is the cell with nothing on."""
        time, prefix = TIMES[key]
        if not self.cells[cell].timed:
            return None
        if cell == OFF:
            return Interval.exact(1.0)
        found = speed.faster(self.cells[cell], self.off, time)
        return found if found or self.trained else speed.speed_up(self.cells[cell], prefix)

    def multiplied(self, cell: Cell, key: str) -> Interval | None:
        """Return the factor that a cell would have if its parts' factors multiplied; None where one
        of them is not known, and for a cell with fewer than two parts."""
        known = self.savings[key]
        alone = [known[one] for one in map(single, parts_of(cell)) if one in known]
        if sum(cell) < 2 or len(alone) < sum(cell):
            return None
        return speed.multiplied(alone)

    def difference(self, cell: Cell) -> Difference | None:
        return None if cell == OFF else difference(self.cells[cell], self.off)

    def weights(self, term: Cell) -> dict[Cell, float]:
        """The weight of each cell in a term: of a main effect the mean of on - off; of an
        interaction by how much one part changes the effect of the other; each over all settings of
        the rest."""
        rest = 2 ** (sum(self.all) - sum(term))
        signs = {
            cell: prod(1 if on else -1 for on, mine in zip(cell, term, strict=True) if mine)
            for cell in below(self.all)
        }
        return {cell: sign / rest for cell, sign in signs.items()}

    def effect(self, term: Cell, key: str) -> float | None:
        """A term of the logarithm of a factor, as a factor: an interaction of 1 says that savings
        multiply. None where a cell is missing or was not timed."""
        known = self.savings[key]
        if self.missing or len(known) < len(self.cells):
            return None
        return exp(sum(w * log(known[cell].value) for cell, w in self.weights(term).items()))

    def accuracy_effect(self, term: Cell) -> Interval | None:
        """A term of accuracy in points, with its paired interval over examples, seeds averaged."""
        if self.missing:
            return None
        weighted = []
        for cell, weight in self.weights(term).items():
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
    bodies = grouped_by(ours, lambda m: tuple(str(getattr(m.row, name)) for name in SAME))
    for rows in bodies.values():
        runs = grouped_by(rows, lambda m: m.run).values()
        own = [(tuple(map(any, zip(*map(cell_of, run), strict=True))), run) for run in runs]
        trained = cells_of(m for cell, run in own for m in run if cell_of(m) == cell)
        if OFF in trained and len(trained) > 2:
            found.append(Factorial(trained, True))
        for cell in sorted({cell for cell, _ in own if sum(cell) > 1}):
            switched = cells_of(m for mine, run in own if mine == cell for m in run)
            if switched.keys() >= {*below(cell)}:
                found.append(Factorial(switched, False))
    return found


def cells_of(rows: Iterable[Measured]) -> dict[Cell, Point]:
    """A row of each run for each cell, as a point over seeds."""
    runs = grouped_by(rows, lambda m: (cell_of(m), m.run)).values()
    usual = sorted((min(run, key=far) for run in runs), key=lambda m: m.row.seed)
    cells = grouped_by(usual, cell_of)
    return {cell: Point(cells[cell]) for cell in below((True, True, True)) if cell in cells}


def far(m: Measured) -> float:
    """How far a row's operating point is from the usual one."""
    return abs(m.row.point - USUAL) if isinstance(m.row.point, float) else 0.0
