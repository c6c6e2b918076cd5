"""Exits under attack: tables and a figure from the rows of `experiments.attack`.

    python -m experiments.attack.draw [folder with rows.jsonl]

Without a folder, the rows that were kept beside this script; page.md says how they
were made. The figure shows cost and accuracy before and after.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eat_lightning.errors import ConfigError, reported
from eat_lightning.files import write_text
from eat_lightning.report import figures
from eat_lightning.report.figures import GRID, SERIES, Figure
from eat_lightning.runs import jsonl
from experiments.attack.rows import AttackRow
from experiments.attack.table import table_of

KEPT = Path(__file__).parent / "results"


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else KEPT
    with reported():
        draw(folder)


def draw(folder: Path) -> None:
    rows = jsonl.read(folder / "rows.jsonl", AttackRow)
    if not rows:
        raise ConfigError(f"{folder} has no rows.jsonl: python -m experiments.attack run=...")
    for goal in dict.fromkeys(row.goal for row in rows):
        table = table_of(rows, goal)
        write_text(folder / f"{table.name}.md", table.page())
        table.show()
    figures.save(figure_of(rows), folder)
    print(f"written: {folder}")


def figure_of(rows: Sequence[AttackRow]) -> Figure:
    """A panel for each task and goal; an arrow for each rule, from the texts as they were to those
    made against that very rule."""
    panels = list(dict.fromkeys((row.task, row.goal) for row in rows))
    rules = list(dict.fromkeys(row.under for row in rows))

    def draw(drawing: Any) -> None:
        axes = drawing.subplots(1, len(panels), squeeze=False, sharey=True)[0]
        for ax, (task, goal) in zip(axes, panels, strict=True):
            ax.set_title(f"{task}: {goal}")
            ax.axvline(1, color=GRID)
            for row in rows:
                if (row.task, row.goal) != (task, goal) or row.against != worst_for(rows, row):
                    continue
                color = SERIES[rules.index(row.under) % len(SERIES)]
                ends = [(row.flops_before, row.flops_after)]
                ends.append((row.accuracy_before, row.accuracy_after))
                (x, x2), (y, y2) = ends
                way = {"arrowstyle": "->", "color": color, "linewidth": 1.2}
                ax.annotate("", (x2, 100 * y2), (x, 100 * y), arrowprops=way)
                ax.plot([x], [100 * y], "o", color=color, markersize=4, label=row.under)
                ax.plot([x2], [100 * y2], "o", color=color, markersize=4, markerfacecolor="none")
            ax.set_xlabel("FLOPs, over the whole encoder's")
        axes[0].set_ylabel("accuracy, %")
        legends = [ax.get_legend_handles_labels() for ax in axes]
        handles = {label: h for both in legends for h, label in zip(*both, strict=True)}
        drawing.legend([*handles.values()], [*handles], loc="outside upper left", ncols=6)

    caption = (
        "From the texts as they were (full) to those made against the rule itself (hollow); "
        "never, against which there is no slowdown: to those made against the first rule."
    )
    size = (3.2 * len(panels) + 0.6, 3.4)
    return Figure("attack", "Exits under attack", caption, draw, size)


def worst_for(rows: Sequence[AttackRow], row: AttackRow) -> str:
    """The attack that a rule is drawn under: the one on itself, else the first."""
    same = [r.against for r in rows if (r.task, r.goal, r.under) == (row.task, row.goal, row.under)]
    return row.under if row.under in same else same[0]


if __name__ == "__main__":
    main()
