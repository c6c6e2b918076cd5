"""Pruning, window and exits, each on or off (EAT, figure 3 and table 4): what each does to cost and
accuracy, and whether savings multiply.

    python -m experiments ablation study=outputs/ablation

Needs the eight runs of `python -m eat_lightning.train experiment=ablation`, measured in one call:
`python -m eat_lightning.measure run=outputs/ablation`. One model that was measured with every
combination of its parts switched off serves too. Without arguments: the rows of our own runs.
"""

from __future__ import annotations

from collections.abc import Iterator

from eat_lightning.report import cells
from eat_lightning.report.claim import Claim
from eat_lightning.report.study import Study

from .factorial import PARTS, Cell, Factorial, factorials, name_of, single
from .figure import figure_of
from .table import NOTHING_SAVED, tables_of

MEASURE = "python -m eat_lightning.measure run=outputs/<study>"


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
            tables = tables_of(name, title, factorial)
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


def summary(factorial: Factorial, cell: Cell) -> str:
    parts = [f"FLOPs {1 / factorial.flops(cell).value:.3f}"]
    size = factorial.off.row.throughput_batch
    timed = {"batch 1": factorial.single(cell), f"batch {size}": factorial.batch(cell)}
    parts += [f"{found.text()} times as fast at {at}" for at, found in timed.items() if found]
    if gained := factorial.difference(cell):
        parts.append(f"accuracy {cells.points_text(gained)} points")
    return ", ".join(parts)


def multiplying(factorial: Factorial, cell: Cell) -> str:
    parts = []
    for saving in factorial.savings:
        expected, found = factorial.multiplied(cell, saving), saving.of(cell)
        if expected and found:
            ratio = f"{found.value:.2f}, {found.over(expected).value:.2f} of it"
            parts.append(f"{expected.value:.2f} ({saving.title}; {ratio})")
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
    kinds = {str(p.row.exit) for cell, p in factorial.cells.items() if cell[2]}
    if len(kinds) > 1:
        yield f"cells with exits have several rules: {'; '.join(sorted(kinds))}."
