"""Pruning, window and exits, each on or off (EAT, figure 3 and table 4): what each does to cost and
accuracy, and whether savings multiply.

    python -m experiments ablation study=outputs/ablation

Needs the eight runs of `python -m eat_lightning.train experiment=ablation`, measured in one call:
`python -m eat_lightning.measure run=outputs/ablation`. One model that was measured with every
combination of its parts switched off serves too. Without arguments: the rows of our own runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from eat_lightning.report import cells, speed
from eat_lightning.report import columns as col
from eat_lightning.report.claim import Claim
from eat_lightning.report.intervals import Interval
from eat_lightning.report.speed import EXTREMES
from eat_lightning.report.study import Study
from eat_lightning.report.table import Cell as TableCell
from eat_lightning.report.table import Table
from eat_lightning.runs.row import method_text

from .factorial import OFF, PARTS, Cell, Factorial, below, factorials, name_of, parts_of, single
from .figure import figure_of

MEASURE = "python -m eat_lightning.measure run=outputs/<study>"
NO_SESSION = "not divided: not timed in one session with the cell that has nothing on"
NOTHING_SAVED = "a window is a mask here: it computes every pair, so that it saves nothing"
AGAINST = "against the cell with nothing on"
OVERLAP = "1: savings multiply; below: they overlap"
MEASURED = ("num_examples", "padding_factor", "weights", "threads", "device", "machine")
CONDITIONS = (*MEASURED, "session", "commit", "version")
RETENTION = "tokens entering the last layer run / at first"
COLUMNS = [
    col.word("cell", "on"),
    *(col.word(part, part, help="the rule" if part == "exits" else "") for part in PARTS),
    col.seeds("seed"),
    col.accuracy(help="percent, mean ± sd over seeds; interval over examples"),
    col.points("points", "Δ points", help=f"{AGAINST}; {col.PAIRED}"),
    col.p_value("p", "points", f"{AGAINST}: {col.MCNEMAR}"),
    col.field("depth", "depth", 2, "layers run, mean"),
    col.field("retention", "retention", 3, RETENTION),
    col.number("flops", "FLOPs", digits=3, help=f"counted, {AGAINST}"),
    col.interval("single", "times as fast, batch 1", help=f"{AGAINST}; {EXTREMES}"),
    col.interval("batch", "in batches", help=f"as they come, {AGAINST}; {EXTREMES}"),
    col.number("conversion", "conversion", help="times as fast / FLOPs saved, batch 1"),
    col.field("latency_ms", "ms", 2, "batch 1, mean"),
    col.field("throughput", "examples/s", 0, "in batches"),
    *col.grouped("conditions", [col.values(k, k.replace("_", " ")) for k in CONDITIONS]),
]


def claim(study: Study) -> Claim:
    """For each task and body the cells, effects and products as tables, and a figure."""
    whole = Claim("ablation", "Pruning, window and exits on and off")
    for task in study.tasks:
        found = factorials(study, task)
        for number, factorial in enumerate(found, start=1):
            name = f"ablation-{task}" + (f"-{number}" if len(found) > 1 else "")
            title = titled(factorial, several=len(found) > 1)
            figure = figure_of(name, f"Pruning, window and exits on {title}", factorial)
            notes = [f"{title}: {note}" for note in notes_of(factorial)]
            tables = [
                cells_table(name, title, factorial),
                product_table(f"{name}-products", title, factorial),
                effect_table(f"{name}-effects", title, factorial),
            ]
            whole.add(answers_of(title, factorial), tables, [figure], notes)
    return whole.or_lacking(
        "no cells of pruning x window x exits here: python -m eat_lightning.train "
        "experiment=ablation, then python -m eat_lightning.measure run=outputs/ablation"
    )


def titled(factorial: Factorial, several: bool) -> str:
    row = factorial.cells[max(factorial.cells, key=sum)].row
    how = "each cell trained" if factorial.trained else "one model, parts switched off"
    which = f"{row.model}, {row.encoder}, {row.dtype}, " if several else ""
    return f"{row.task} ({which}{how})"


def cells_table(name: str, title: str, f: Factorial) -> Table:
    caption = (
        f"{f.off.row.num_examples} examples; batches of {f.off.row.throughput_batch}. Bold: better "
        "than with nothing on by its 95 % interval."
    )
    lines = [cell_line(f, cell) for cell in f.cells]
    return col.table(name, f"Cells on {title}", caption, COLUMNS, lines, None)


def cell_line(f: Factorial, cell: Cell) -> dict[str, Any]:
    point, flops, single = f.cells[cell], f.savings["flops"][cell], f.savings["single"].get(cell)
    slots = zip(PARTS.items(), cell, strict=True)
    on = {part: getattr(point.row, slot).kind for (part, (slot, _)), is_on in slots if is_on}
    if "exits" in on:
        on["exits"] = point.setting
    return on | {
        "cell": name_of(cell),
        "point": point,
        "points": f.difference(cell),
        "flops": 1 / flops.value,
        "single": times(f, cell, "single"),
        "batch": times(f, cell, "batch"),
        "conversion": single and single.value / flops.value,
        "flags": flags_of(f, cell),
    }


def times(f: Factorial, cell: Cell, key: str) -> TableCell:
    if not f.cells[cell].timed:
        return cells.EMPTY
    found = f.savings[key].get(cell)
    return TableCell(1.0, "1") if cell == OFF else speed.times(found, NO_SESSION)


def flags_of(factorial: Factorial, cell: Cell) -> list[str]:
    point = factorial.cells[cell]
    commits = [c for each in factorial.cells.values() for c in each.commits]
    flags = [cells.ONE_SEED] if len(point.members) == 1 else []
    flags += [cells.OTHER_COMMIT] if point.commits != [max(commits, key=commits.count)] else []
    return [*flags, NOTHING_SAVED] if cell == single("window") else flags


def product_table(name: str, title: str, f: Factorial) -> Table:
    """Do savings multiply? A line for each cell with two parts or more, whose single cells are
    there."""
    columns = [col.word("cell", "on")]
    for key, cost in f.titles.items():
        columns += [
            col.interval(f"{key}_product", f"{cost}: product", help="of the parts' factors alone"),
            col.interval(f"{key}_measured", "measured"),
            col.interval(f"{key}_ratio", "measured / product", help=OVERLAP),
        ]
    caption = (
        f"Factors by which cost falls, {AGAINST}. Intervals of time are of the extremes of the "
        "repeats multiplied and divided: rather too wide."
    )
    lines = [product_line(f, cell) for cell in f.cells if f.multiplied(cell, "flops")]
    return col.table(name, f"Do savings multiply on {title}?", caption, columns, lines, None)


def product_line(f: Factorial, cell: Cell) -> dict[str, Any]:
    line: dict[str, Any] = {"cell": name_of(cell), "flags": flags_of(f, cell)}
    for key in f.titles:
        found, expected = f.savings[key].get(cell), f.multiplied(cell, key)
        ratio = found.over(expected) if found and expected else None
        made = {"product": expected, "measured": found, "ratio": ratio}
        line |= {f"{key}_{what}": factor(interval) for what, interval in made.items()}
    return line


def factor(found: Interval | None) -> TableCell:
    if found is None or found.low == found.high:
        return cells.number(found and found.value, 3)
    return cells.interval(found)


def effect_table(name: str, title: str, f: Factorial) -> Table:
    """Main effects and interactions of the parts that vary, of a whole factorial only."""
    falls, points = "factor by which cost falls", f"points; {col.PAIRED}"
    columns = [
        col.word("term", "effect"),
        *(col.number(key, cost, digits=3, help=falls) for key, cost in f.titles.items()),
        col.interval("points", "accuracy", help=points, sign="+", against=0),
    ]
    caption = (
        "Main effects: on against off, over all settings of the other parts (means of logarithms). "
        "x: by how much one part changes the effect of another; 1, or 0 points: not at all, "
        "savings multiply. Single repeats are not kept, so that effects on time have no interval."
    )
    lines = [
        {key: f.effect(term, key) for key in f.titles}
        | {"term": " x ".join(parts_of(term)), "points": f.accuracy_effect(term)}
        for term in ([] if f.missing else below(f.all)[1:])
    ]
    title = f"Effects and interactions on {title}"
    return col.table(name, title, caption, columns, lines, None)


def answers_of(title: str, factorial: Factorial) -> Iterator[str]:
    """All parts together, each alone, and whether savings multiply."""
    whole = max(factorial.cells, key=sum)
    for cell in dict.fromkeys([whole, *map(single, PARTS)]):
        if cell in factorial.cells:
            yield f"{title}, {name_of(cell)}: {summary(factorial, cell)}."
    for cell in factorial.cells:
        if not cell[1] and (products := multiplying(factorial, cell)):  # a window saves nothing
            yield (
                f"{title}, {name_of(cell)}: single savings would multiply to (measured is): "
                f"{products}."
            )


def summary(f: Factorial, cell: Cell) -> str:
    parts = [f"FLOPs {1 / f.savings['flops'][cell].value:.3f}"]
    for key, size in (("single", 1), ("batch", f.off.row.throughput_batch)):
        if found := f.savings[key].get(cell):
            parts.append(f"{found.text()} times as fast at batch {size}")
    if gained := f.difference(cell):
        parts.append(f"accuracy {cells.points_text(gained)} points")
    return ", ".join(parts)


def multiplying(f: Factorial, cell: Cell) -> str:
    parts = []
    for key, cost in f.titles.items():
        expected, found = f.multiplied(cell, key), f.savings[key].get(cell)
        if expected and found:
            ratio = f"{found.value:.2f}, {found.over(expected).value:.2f} of it"
            parts.append(f"{expected.value:.2f} ({cost}; {ratio})")
    return ", ".join(parts)


def notes_of(factorial: Factorial) -> Iterator[str]:
    if factorial.missing:
        names = ", ".join(map(name_of, factorial.missing))
        yield f"cells that are missing: {names}; no effects without them."
    if not all(point.timed for point in factorial.cells.values()):
        yield f"not all cells were timed: {MEASURE}, all runs in one call."
    if single("window") in factorial.cells:
        yield (
            f"{NOTHING_SAVED}, in FLOPs or in time; the paper's formula (5) "
            "counts the window's pairs alone."
        )
    kinds = {method_text(p.row.exit) for cell, p in factorial.cells.items() if cell[2]}
    if len(kinds) > 1:
        yield f"cells with exits have several rules: {'; '.join(sorted(kinds))}."
