"""Attacks as tables (a line: a rule under attack, judged under itself and under the others) and as
one figure of cost and accuracy before and after."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from eat_lightning.attack.rows import AttackRow
from eat_lightning.report.claim import Cell, Column, Figure, Line, Source, Table
from eat_lightning.report.figures import GRID, SERIES

COST = "what it costs"
ANSWERS = "what is answered"
COLUMNS = [
    Column("task", "task", numeric=False),
    Column("against", "attack on", "the rule whose logits the search climbed", numeric=False),
    Column("under", "judged under", "the rule that answers", numeric=False),
    Column("reached", "reached", "%, of the texts the goal applies to", group=ANSWERS),
    Column("accuracy", "accuracy", "%, before to after", group=ANSWERS),
    Column("sure_and_wrong", "early and wrong", "% of all texts", group=ANSWERS),
    Column("exits", "leave early", "%, before to after", group=COST),
    Column("depth", "depth", "layers, mean, before to after", group=COST),
    Column("depth_p99", "depth p99", "before to after", group=COST),
    Column("flops", "FLOPs", "over the whole encoder's, before to after", group=COST),
    Column("flops_p99", "FLOPs p99", "before to after", group=COST),
    Column("worst", "worst", "of all texts asked", group=COST),
    Column("bound", "bound", "of any text", group=COST),
]


def table_of(rows: Sequence[AttackRow], goal: str) -> Table:
    chosen = [row for row in rows if row.goal == goal]
    first = chosen[0]
    budget, words = first.budget, " and ".join(first.kinds)
    most = max(row.queries_max for row in chosen)
    caption = (
        f"{texts_of(chosen)}; at most {budget['edits']} words changed "
        f"({words}), {budget['candidates']} candidates a round. {MEANING[goal]} FLOPs are over "
        "those of the whole encoder on the texts as they were; the bound is the length "
        f"cap at full depth. Queries for each text: "
        f"{mean_of(chosen, 'queries'):.0f} on average, {most} at most."
    )
    lines = [Line(cells(row), Source((row.run,), command_of(row), (row.commit,))) for row in chosen]
    return Table(f"attack-{goal}", f"Attack: {goal}", caption, COLUMNS, lines)


def texts_of(rows: Sequence[AttackRow]) -> str:
    """Of each task: how many, and how long they may be."""
    said = (
        f"{r.task}: {r.num_examples} texts of {r.split}, cap {r.max_length} tokens" for r in rows
    )
    return "; ".join(dict.fromkeys(said))


MEANING = {
    "slowdown": "Reached: of the texts that left early, those that no longer do.",
    "evasion": "Reached: of the texts answered rightly, those answered wrongly and early "
    "(under never: wrongly).",
}


def command_of(row: AttackRow) -> str:
    return f"python -m eat_lightning.attack run=.../{row.run} examples={row.num_examples}"


def mean_of(rows: Sequence[AttackRow], name: str) -> float:
    return sum(getattr(row, name) for row in rows) / len(rows)


def cells(row: AttackRow) -> dict[str, Cell]:
    def moved(name: str, digits: int = 2, scale: float = 1.0) -> Cell:
        before, after = (scale * getattr(row, f"{name}_{when}") for when in ("before", "after"))
        return Cell(after, f"{before:.{digits}f} to {after:.{digits}f}")

    got = row.reached
    return {
        **{key: Cell(getattr(row, key), getattr(row, key)) for key in ("task", "against", "under")},
        "reached": Cell(got, "" if got is None else f"{100 * got:.0f}"),
        "accuracy": moved("accuracy", 0, 100),
        "sure_and_wrong": Cell(row.sure_and_wrong, f"{100 * row.sure_and_wrong:.0f}"),
        "exits": moved("exits", 0, 100),
        **{name: moved(name) for name in ("depth", "flops", "flops_p99")},
        "depth_p99": moved("depth_p99", 0),
        "worst": Cell(row.flops_worst, f"{row.flops_worst:.2f}"),
        "bound": Cell(row.flops_bound, f"{row.flops_bound:.2f}"),
    }


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
        handles = {label: h for ax in axes for h, label in zip(*legend_of(ax), strict=True)}
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


def legend_of(ax: Any) -> tuple[list[Any], list[str]]:
    return ax.get_legend_handles_labels()
