"""Pruning, window and exits, each on or off (EAT, figure 3 and table 4): what each does to cost and
accuracy, and whether savings multiply.

    python -m experiments.ablation.claim study=outputs/ablation

Needs the eight runs of `python -m eat_lightning.train experiment=ablation`, measured in one call:
`python -m eat_lightning.measure run=outputs/ablation`. One model that was measured with every
combination of its parts switched off serves too. Without arguments: the rows of our own runs.
"""

from __future__ import annotations

from collections.abc import Sequence

from eat_lightning.errors import ConfigError
from eat_lightning.report import cells
from eat_lightning.report.claim import Claim
from eat_lightning.report.study import Study

from .factorial import PARTS, Cell, Factorial, factorials, name_of, single
from .figure import figure_of
from .table import NOTHING_SAVED, tables_of

MEASURE = "python -m eat_lightning.measure run=outputs/<study>"


def claim(study: Study) -> Claim:
    """For each task and body the cells, effects and products as tables, and a figure."""
    tables, figures, answers, notes = [], [], [], []
    for task in study.tasks:
        found = factorials(study, task)
        for number, factorial in enumerate(found, start=1):
            name = f"ablation-{task}" + (f"-{number}" if len(found) > 1 else "")
            title = titled(factorial, several=len(found) > 1)
            tables += tables_of(name, title, factorial)
            figures.append(figure_of(name, f"Pruning, window and exits on {title}", factorial))
            answers += answers_of(title, factorial)
            notes += [f"{title}: {note}" for note in notes_of(factorial)]
    if not tables:
        raise ConfigError(
            "no cells of pruning x window x exits here: python -m eat_lightning.train "
            "experiment=ablation, then python -m eat_lightning.measure run=outputs/ablation"
        )
    return Claim(
        "ablation", "Pruning, window and exits on and off", answers, tables, figures, notes
    )


def titled(factorial: Factorial, several: bool) -> str:
    row = factorial.cells[max(factorial.cells, key=sum)].row
    how = "each cell trained" if factorial.trained else "one model, parts switched off"
    which = f"{row.model}, {row.encoder}, {row.dtype}, " if several else ""
    return f"{row.task} ({which}{how})"


def answers_of(title: str, factorial: Factorial) -> list[str]:
    """All parts together, each alone, and whether savings multiply."""
    whole = max(factorial.cells, key=sum)
    shown = [whole, *(c for c in map(single, PARTS) if c in factorial.cells and c != whole)]
    lines = [f"{title}, {name_of(cell)}: {summary(factorial, cell)}." for cell in shown]
    several = [c for c in factorial.cells if not c[1]]  # a window saves nothing
    return lines + [
        f"{title}, {name_of(c)}: single savings would multiply to (measured is): {products}."
        for c in several
        if (products := multiplying(factorial, c))
    ]


def summary(factorial: Factorial, cell: Cell) -> str:
    parts = [f"FLOPs {1 / factorial.flops(cell).value:.3f}"]
    batch = factorial.off.row.throughput_batch
    for where, found in (
        ("batch 1", factorial.single(cell)),
        (f"batch {batch}", factorial.batch(cell)),
    ):
        if found is not None:
            parts.append(f"{cells.times_text(found)} times as fast at {where}")
    gained = factorial.difference(cell)
    if gained is not None:
        parts.append(f"accuracy {cells.points_text(gained)} points")
    return ", ".join(parts)


def multiplying(factorial: Factorial, cell: Cell) -> str:
    parts = []
    for saving in factorial.savings:
        expected, found = factorial.multiplied(cell, saving), saving.of(cell)
        if expected is not None and found is not None:
            ratio = f"{found.value:.2f}, {found.value / expected.value:.2f} of it"
            parts.append(f"{expected.value:.2f} ({saving.title}; {ratio})")
    return ", ".join(parts)


def notes_of(factorial: Factorial) -> Sequence[str]:
    notes = []
    if factorial.missing:
        names = ", ".join(map(name_of, factorial.missing))
        notes.append(f"cells that are missing: {names}; no effects without them.")
    if not all(point.timed for point in factorial.cells.values()):
        notes.append(f"not all cells were timed: {MEASURE}, all runs in one call.")
    if single("window") in factorial.cells:
        notes.append(
            f"{NOTHING_SAVED}, in FLOPs or in time; the paper's formula (5) "
            "counts the window's pairs alone."
        )
    kinds = {str(p.row.exit) for cell, p in factorial.cells.items() if cell[2]}
    if len(kinds) > 1:
        notes.append(f"cells with exits have several rules: {'; '.join(sorted(kinds))}.")
    return notes


if __name__ == "__main__":
    from eat_lightning.report.__main__ import show_claim

    show_claim(__file__)
