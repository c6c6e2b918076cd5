"""The tables of a factorial: its cells, whether savings multiply, and effects with interactions."""

from __future__ import annotations

from typing import Any

from eat_lightning.report import cells
from eat_lightning.report.claim import Cell as TableCell
from eat_lightning.report.claim import Column, Table
from eat_lightning.report.columns import (
    accuracy,
    field,
    grouped,
    interval,
    made,
    number,
    p_value,
    points,
    table,
    values,
    word,
)
from eat_lightning.report.setting_table import EXTREMES, MCNEMAR, OTHER_COMMIT, PAIRED
from eat_lightning.report.statistics import Interval

from .factorial import OFF, Cell, Factorial, Saving, below, name_of, parts_of, single

NO_SESSION = "not divided: not timed in one session with the cell that has nothing on"
NOTHING_SAVED = "a window is a mask here: it computes every pair, so that it saves nothing"
AGAINST = "against the cell with nothing on"
MEASURED = ("num_examples", "padding_factor", "weights", "threads", "device", "machine")
CONDITIONS = (*MEASURED, "session", "commit", "version")


def tables_of(name: str, title: str, factorial: Factorial) -> list[Table]:
    return [
        cells_table(name, title, factorial),
        product_table(f"{name}-products", title, factorial),
        effect_table(f"{name}-effects", title, factorial),
    ]


def cells_table(name: str, title: str, f: Factorial) -> Table:
    batch, at = f.off.row.throughput_batch, f.cells
    saved = {c: t.value / f.flops(c).value for c in at if (t := f.single(c)) is not None}

    def kind(slot: str, place: int) -> Any:
        return lambda cell: getattr(at[cell].row, slot)["kind"] if cell[place] else None

    columns = [
        word("cell", "on", name_of),
        word("pruning", "pruning", kind("reduction", 0)),
        word("window", "window", kind("attention", 1)),
        word("exits", "exits", lambda c: at[c].setting if c[2] else None, "the rule"),
        values("seed", "seeds", of=at.get),
        accuracy(at.get, "percent, mean ± sd over seeds; interval over examples"),
        points("points", "Δ points", f.difference, f"{AGAINST}; {PAIRED}"),
        p_value("p", f.difference, f"{AGAINST}: {MCNEMAR}"),
        field("depth", "depth", 2, "layers run, mean", at.get),
        field("retention", "retention", 3, "tokens entering the last layer run / at first", at.get),
        number("flops", "FLOPs", lambda c: 1 / f.flops(c).value, 3, f"counted, {AGAINST}"),
        times(f, "single", "times as fast, batch 1", f.single, ""),
        times(f, "batch", "in batches", f.batch, f"of {batch}, as they come, "),
        number("conversion", "conversion", saved.get, 2, "times as fast / FLOPs saved, batch 1"),
        field("latency_ms", "ms", 2, "batch 1, mean", at.get),
        field("throughput", "examples/s", 0, "in batches", at.get),
        *grouped("conditions", [values(k, k.replace("_", " "), of=at.get) for k in CONDITIONS]),
    ]
    n = f.off.row.num_examples
    caption = f"{n} examples. Bold: better than with nothing on by its 95 % interval."
    title = f"Cells on {title}"
    return table(name, title, caption, columns, at, f.source, lambda c: flags_of(f, c))


def times(f: Factorial, key: str, title: str, of: Any, how: str) -> Column:
    def cell(c: Cell) -> TableCell:
        if not f.cells[c].timed:
            return cells.EMPTY
        return TableCell(1.0, "1") if c == OFF else cells.times(of(c), NO_SESSION)

    return made(key, title, cell, f"{how}{AGAINST}; {EXTREMES}")


def flags_of(factorial: Factorial, cell: Cell) -> list[str]:
    point = factorial.cells[cell]
    commits = [c for each in factorial.cells.values() for c in each.commits]
    flags = [cells.ONE_SEED] if len(point.members) == 1 else []
    flags += [OTHER_COMMIT] if point.commits != [max(commits, key=commits.count)] else []
    return [*flags, NOTHING_SAVED] if cell == single("window") else flags


def product_table(name: str, title: str, f: Factorial) -> Table:
    """Do savings multiply? A line for each cell with two parts or more, whose single cells are
    there."""
    columns = [word("cell", "on", name_of)]
    columns += [column for saving in f.savings for column in product_columns(f, saving)]
    caption = (
        f"Factors by which cost falls, {AGAINST}. Intervals of time are of the extremes of the "
        "repeats multiplied and divided: rather too wide."
    )
    several = [c for c in f.cells if f.multiplied(c, f.savings[0])]

    def source(cell: Cell) -> Any:
        return f.source(*dict.fromkeys([cell, *map(single, parts_of(cell)), OFF]))

    title = f"Do savings multiply on {title}?"
    return table(name, title, caption, columns, several, source, lambda c: flags_of(f, c))


def product_columns(f: Factorial, saving: Saving) -> list[Column]:
    def product(cell: Cell) -> Interval | None:
        return f.multiplied(cell, saving)

    def ratio(cell: Cell) -> Interval | None:
        found, expected = saving.of(cell), product(cell)
        return found.over(expected) if found and expected else None

    def column(key: str, title: str, of: Any, help: str = "") -> Column:
        return made(f"{saving.key}_{key}", title, lambda cell: factor(of(cell)), help)

    return [
        column("product", f"{saving.title}: product", product, "of the parts' factors alone"),
        column("measured", "measured", saving.of),
        column("ratio", "measured / product", ratio, "1: savings multiply; below: they overlap"),
    ]


def factor(found: Interval | None) -> TableCell:
    if found is None or found.low == found.high:
        return cells.number(found and found.value, 3)
    return cells.interval(found)


def effect_table(name: str, title: str, f: Factorial) -> Table:
    """Main effects and interactions of the parts that vary, of a whole factorial only."""

    def effect(s: Saving) -> Column:
        return number(s.key, s.title, lambda c: f.effect(c, s), 3, "factor by which cost falls")

    columns = [
        word("term", "effect", lambda c: " x ".join(parts_of(c))),
        *map(effect, f.savings),
        interval("points", "accuracy", f.accuracy_effect, f"points; {PAIRED}", sign="+", against=0),
    ]
    caption = (
        "Main effects: on against off, over all settings of the other parts (means of logarithms). "
        "x: by how much one part changes the effect of another; 1, or 0 points: not at all, "
        "savings multiply. Single repeats are not kept, so that effects on time have no interval."
    )
    terms = [] if f.missing else below(f.all)[1:]
    title = f"Effects and interactions on {title}"
    return table(name, title, caption, columns, terms, lambda c: f.source(*f.cells))
