"""The tables of a factorial: its cells, whether savings multiply, and effects with interactions."""

from __future__ import annotations

from eat_lightning.report import cells
from eat_lightning.report.claim import Cell as TableCell
from eat_lightning.report.claim import Table
from eat_lightning.report.columns import Made, number, table, word
from eat_lightning.report.setting_table import EXTREMES, MCNEMAR, ONE_SEED, OTHER_COMMIT, PAIRED
from eat_lightning.report.statistics import Interval

from .factorial import OFF, Cell, Factorial, Saving, below, name_of, parts_of, single

NO_SESSION = "not divided: not timed in one session with the cell that has nothing on"
NOTHING_SAVED = "a window is a mask here: it computes every pair, so that it saves nothing"
AGAINST = "against the cell with nothing on"
CONDITIONS = (
    *("num_examples", "padding_factor", "weights", "threads", "device", "machine"),
    *("session", "commit", "version"),
)


def tables_of(name: str, title: str, factorial: Factorial) -> list[Table]:
    found = [cells_table(name, title, factorial)]
    found += [product_table(f"{name}-products", title, factorial)]
    found += [effect_table(f"{name}-effects", title, factorial)]
    return [made for made in found if made.lines]


def cells_table(name: str, title: str, f: Factorial) -> Table:
    batch, at = f.off.row.throughput_batch, f.cells
    saved = {c: t.value / f.flops(c).value for c in at if (t := f.single(c)) is not None}
    columns: list[Made[Cell]] = [
        word("cell", "on", name_of),
        word("pruning", "pruning", lambda c: at[c].row.reduction["kind"] if c[0] else None),
        word("window", "window", lambda c: at[c].row.attention["kind"] if c[1] else None),
        word("exits", "exits", lambda c: at[c].setting if c[2] else None, "the rule"),
        Made("seed", "seeds", lambda c: cells.several(at[c], "seed"), "", False),
        Made(
            *("accuracy", "accuracy", lambda c: cells.accuracy(at[c])),
            "percent, mean ± sd over seeds; interval over examples",
        ),
        Made(
            *("points", "Δ points", lambda c: cells.points(f.difference(c))), f"{AGAINST}; {PAIRED}"
        ),
        Made("p", "p", lambda c: cells.p_value(f.difference(c)), f"{AGAINST}: {MCNEMAR}"),
        number("depth", "depth", lambda c: at[c].mean("depth"), 2, "layers run, mean"),
        number(
            *("retention", "retention", lambda c: at[c].mean("retention"), 3),
            "tokens entering the last executed layer / at first",
        ),
        number("flops", "FLOPs", lambda c: 1 / f.flops(c).value, 3, f"counted, {AGAINST}"),
        Made(
            *("single", "times as fast, batch 1", lambda c: times(f, c, f.single(c))),
            f"{AGAINST}; {EXTREMES}",
        ),
        Made(
            *("batch", "in batches", lambda c: times(f, c, f.batch(c))),
            f"of {batch}, as they come, {AGAINST}; {EXTREMES}",
        ),
        number("conversion", "conversion", saved.get, 2, "times as fast / FLOPs saved, batch 1"),
        number("latency_ms", "ms", lambda c: at[c].mean("latency_ms"), 2, "batch 1, mean"),
        number("throughput", "examples/s", lambda c: at[c].mean("throughput"), 0, "in batches"),
        *(
            Made(
                *(key, key.replace("_", " "), lambda c, key=key: cells.several(at[c], key)),
                *("", False, "conditions"),
            )
            for key in CONDITIONS
        ),
    ]
    n = f.off.row.num_examples
    caption = f"{n} examples. Bold: better than with nothing on by its 95 % interval."
    title = f"Cells on {title}"
    return table(name, title, caption, columns, at, f.source, lambda c: flags_of(f, c))


def times(factorial: Factorial, cell: Cell, found: Interval | None) -> TableCell:
    if not factorial.cells[cell].timed:
        return cells.EMPTY
    return TableCell(1.0, "1") if cell == OFF else cells.times(found, NO_SESSION)


def flags_of(factorial: Factorial, cell: Cell) -> list[str]:
    point = factorial.cells[cell]
    commits = [c for each in factorial.cells.values() for c in each.commits]
    flags = [ONE_SEED] if len(point.members) == 1 else []
    flags += [OTHER_COMMIT] if point.commits != [max(commits, key=commits.count)] else []
    return [*flags, NOTHING_SAVED] if cell == single("window") else flags


def product_table(name: str, title: str, f: Factorial) -> Table:
    """Do savings multiply? A line for each cell with two parts or more, whose single cells are
    there."""
    columns: list[Made[Cell]] = [word("cell", "on", name_of)]
    columns += [column for saving in f.savings for column in product_columns(f, saving)]
    caption = (
        f"Factors by which cost falls, {AGAINST}. Intervals of time are of the extremes of the "
        "repeats multiplied and divided: rather too wide."
    )
    return table(
        *(name, f"Do savings multiply on {title}?", caption, columns),
        [c for c in f.cells if f.multiplied(c, f.savings[0])],
        lambda c: f.source(*dict.fromkeys([c, *map(single, parts_of(c)), OFF])),
        lambda c: flags_of(f, c),
    )


def product_columns(f: Factorial, saving: Saving) -> list[Made[Cell]]:
    def ratio(cell: Cell) -> TableCell:
        return factor(over(saving.of(cell), f.multiplied(cell, saving)))

    return [
        Made(
            *(f"{saving.key}_product", f"{saving.title}: product"),
            lambda cell: factor(f.multiplied(cell, saving)),
            "of the parts' factors alone",
        ),
        Made(f"{saving.key}_measured", "measured", lambda cell: factor(saving.of(cell))),
        Made(
            *(f"{saving.key}_ratio", "measured / product", ratio),
            "1: savings multiply; below: they overlap",
        ),
    ]


def over(found: Interval | None, expected: Interval | None) -> Interval | None:
    if found is None or expected is None:
        return None
    ends = found.value / expected.value, found.low / expected.high, found.high / expected.low
    return Interval(*ends)


def factor(found: Interval | None) -> TableCell:
    if found is None or found.low == found.high:
        return cells.number(found and found.value, 3)
    return TableCell(found.value, cells.times_text(found), found.low, found.high)


def effect_table(name: str, title: str, f: Factorial) -> Table:
    """Main effects and interactions of the parts that vary, of a whole factorial only."""

    def effect(s: Saving) -> Made[Cell]:
        return number(s.key, s.title, lambda c: f.effect(c, s), 3, "factor by which cost falls")

    columns: list[Made[Cell]] = [
        word("term", "effect", lambda c: " x ".join(parts_of(c))),
        *map(effect, f.savings),
        Made(*("points", "accuracy", lambda c: points(f.accuracy_effect(c))), f"points; {PAIRED}"),
    ]
    caption = (
        "Main effects: on against off, over all settings of the other parts (means of logarithms). "
        "x: by how much one part changes the effect of another; 1, or 0 points: not at all, "
        "savings multiply. Single repeats are not kept, so that effects on time have no interval."
    )
    terms = [] if f.missing else below(f.all)[1:]
    title = f"Effects and interactions on {title}"
    return table(name, title, caption, columns, terms, lambda c: f.source(*f.cells))


def points(gained: Interval | None) -> TableCell:
    if gained is None:
        return cells.EMPTY
    flags = () if gained.excludes_zero else (cells.SPANS_ZERO,)
    text = f"{gained.value:+.2f} ({gained.low:+.2f} to {gained.high:+.2f})"
    text = "0" if gained.low == gained.high == 0 else text
    return TableCell(gained.value, text, gained.low, gained.high, flags)
