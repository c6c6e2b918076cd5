"""The tables of a factorial: its cells, whether savings multiply, and effects with interactions."""

from __future__ import annotations

from eat_lightning.report import cells
from eat_lightning.report.claim import Cell as TableCell
from eat_lightning.report.claim import Column, Line, Table
from eat_lightning.report.setting_table import EXTREMES, MCNEMAR, ONE_SEED, OTHER_COMMIT, PAIRED
from eat_lightning.report.statistics import Interval

from .factorial import (
    OFF,
    PARTS,
    Cell,
    Factorial,
    accuracy_effect,
    costs,
    effect,
    multiplied,
    name_of,
    parts_of,
    single,
    terms,
)

NO_SESSION = "not divided: not timed in one session with the cell that has nothing on"
NOTHING_SAVED = "a window is a mask here: it computes every pair, so that it saves nothing"
AGAINST = "against the cell with nothing on"
CONDITIONS = (
    *("num_examples", "padding_factor", "dtype", "threads", "device", "machine"),
    *("session", "commit", "version"),
)


def tables_of(name: str, title: str, factorial: Factorial) -> list[Table]:
    return [
        cells_table(name, title, factorial),
        *product_tables(name, title, factorial),
        *effect_tables(name, title, factorial),
    ]


# Cells


def cells_table(name: str, title: str, factorial: Factorial) -> Table:
    n, batch = (factorial.off.row.num_examples, factorial.off.row.throughput_batch)
    columns = [
        Column("cell", "on", numeric=False),
        *(Column(part, part, "the method", numeric=False) for part in PARTS),
        Column("seed", "seeds", numeric=False),
        Column("accuracy", "accuracy", "percent, mean ± sd over seeds; interval over examples"),
        Column("points", "Δ points", f"{AGAINST}; {PAIRED}"),
        Column("p", "p", f"{AGAINST}: {MCNEMAR}"),
        Column("depth", "depth", "layers run, mean over examples"),
        Column("retention", "retention", "tokens entering the last executed layer / at first"),
        Column("flops", "FLOPs", f"counted, {AGAINST}"),
        Column("single", "times as fast, batch 1", f"{AGAINST}; {EXTREMES}"),
        Column("batch", "in batches", f"of {batch}, as they come, {AGAINST}; {EXTREMES}"),
        Column("conversion", "conversion", "times as fast / FLOPs saved, batch 1"),
        Column("latency_ms", "ms", "batch 1, mean over examples", group="conditions"),
        Column("throughput", "examples/s", "in batches, as they come", group="conditions"),
        *(
            Column(key, key.replace("_", " "), numeric=False, group="conditions")
            for key in CONDITIONS
        ),
    ]
    lines = [cell_line(factorial, cell) for cell in factorial.cells]
    caption = f"{n} examples. Bold: better than with nothing on by its 95 % interval."
    return Table(name, f"Cells on {title}", caption, columns, lines)


def cell_line(factorial: Factorial, cell: Cell) -> Line:
    point, found = factorial.cells[cell], factorial.difference(cell)
    made = {
        "cell": cells.words(name_of(cell)),
        "pruning": cells.words(point.row.reduction["kind"] if cell[0] else None),
        "window": cells.words(point.row.attention["kind"] if cell[1] else None),
        "exits": cells.words(point.setting if cell[2] else None),
        "accuracy": cells.accuracy(point),
        "points": cells.points(found),
        "p": cells.p_value(found),
        "depth": cells.number(point.mean("depth"), 2),
        "retention": cells.number(point.mean("retention"), 3),
        "flops": cells.number(1 / factorial.flops(cell).value, 3),
        "conversion": conversion(factorial, cell),
        "latency_ms": cells.number(point.mean("latency_ms"), 2),
        "throughput": cells.number(point.mean("throughput"), 0),
        **{key: cells.several(point, key) for key in ("seed", *CONDITIONS)},
        "dtype": cells.several(point, "weights"),
    }
    for key in ("single", "batch"):
        made[key] = times(getattr(factorial, key)(cell), cell, point.timed)
    return Line(made, factorial.source(cell), flags_of(factorial, cell))


def times(found: Interval | None, cell: Cell, timed: bool) -> TableCell:
    if not timed or cell == OFF:
        return TableCell(1.0, "1") if timed else cells.EMPTY
    return cells.times(found, NO_SESSION)


def conversion(factorial: Factorial, cell: Cell) -> TableCell:
    found = factorial.single(cell) if factorial.cells[cell].timed else None
    return cells.number(found and found.value / factorial.flops(cell).value, 2)


def flags_of(factorial: Factorial, cell: Cell) -> tuple[str, ...]:
    point = factorial.cells[cell]
    flags = [ONE_SEED] if len(point.members) == 1 else []
    flags += [OTHER_COMMIT] if point.commits != [most_common(factorial)] else []
    return (*flags, NOTHING_SAVED) if cell == single("window") else tuple(flags)


def most_common(factorial: Factorial) -> str:
    commits = [c for point in factorial.cells.values() for c in point.commits]
    return max(commits, key=commits.count)


# Do savings multiply?


def product_tables(name: str, title: str, factorial: Factorial) -> list[Table]:
    """A line for each cell with two parts or more, whose single cells are there."""
    columns = [Column("cell", "on", numeric=False)]
    for key, (what, _) in costs(factorial).items():
        columns += [
            Column(f"{key}_product", f"{what}: product", "of the parts' factors alone"),
            Column(f"{key}_measured", "measured"),
            Column(
                f"{key}_ratio", "measured / product", "1: savings multiply; below: they overlap"
            ),
        ]
    some = [c for c in factorial.cells if sum(c) > 1 and multiplied(factorial, c, factorial.flops)]
    lines = [product_line(factorial, cell) for cell in some]
    caption = (
        f"Factors by which cost falls, {AGAINST}. Intervals of time are of the extremes of the "
        "repeats multiplied and divided: rather too wide."
    )
    made = Table(f"{name}-products", f"Do savings multiply on {title}?", caption, columns, lines)
    return [made] if lines else []


def product_line(factorial: Factorial, cell: Cell) -> Line:
    made = {"cell": cells.words(name_of(cell))}
    for key, (_, of) in costs(factorial).items():
        expected, found = multiplied(factorial, cell, of), of(cell)
        if expected is not None and found is not None:
            made[f"{key}_product"] = factor(expected)
            made[f"{key}_measured"] = factor(found)
            made[f"{key}_ratio"] = factor(over(found, expected))
    used = dict.fromkeys([cell, *map(single, parts_of(cell)), OFF])
    return Line(made, factorial.source(*used), flags_of(factorial, cell))


def over(found: Interval, expected: Interval) -> Interval:
    return Interval(
        found.value / expected.value, found.low / expected.high, found.high / expected.low
    )


def factor(found: Interval) -> TableCell:
    if found.low == found.high:
        return TableCell(found.value, f"{found.value:.3f}")
    return TableCell(found.value, cells.times_text(found), found.low, found.high)


# Main effects and interactions


def effect_tables(name: str, title: str, factorial: Factorial) -> list[Table]:
    """Of a whole factorial only."""
    if factorial.missing:
        return []
    told = costs(factorial)
    columns = [
        Column("term", "effect", numeric=False),
        *(Column(key, what, "factor by which cost falls") for key, (what, _) in told.items()),
        Column("points", "accuracy", f"points; {PAIRED}"),
    ]
    lines = [effect_line(factorial, term) for term in terms(factorial)]
    caption = (
        "Main effects: on against off, over all settings of the other parts (means of logarithms). "
        "x: by how much one part changes the effect of another; 1, or 0 points: not at all, "
        "savings multiply. Single repeats are not kept, so that effects on time have no interval."
    )
    title = f"Effects and interactions on {title}"
    return [Table(f"{name}-effects", title, caption, columns, lines)]


def effect_line(factorial: Factorial, term: Cell) -> Line:
    gained = accuracy_effect(factorial, term)
    made = {"term": cells.words(" x ".join(parts_of(term)))}
    for key, (_, of) in costs(factorial).items():
        made[key] = cells.number(effect(factorial, term, of), 3)
    if gained is not None:
        flags = () if gained.excludes_zero else (cells.SPANS_ZERO,)
        text = f"{gained.value:+.2f} ({gained.low:+.2f} to {gained.high:+.2f})"
        text = "0" if gained.low == gained.high == 0 else text
        made["points"] = TableCell(gained.value, text, gained.low, gained.high, flags)
    return Line(made, factorial.source(*factorial.cells))
