"""Attacks as tables: a line for each rule attacked and each rule judged under."""

from __future__ import annotations

from collections.abc import Sequence

from eat_lightning.report.cells import number, words
from eat_lightning.report.table import Cell, Column, Line, Table
from experiments.attack.rows import AttackRow

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
# What is told before and after: its scale, and digits.
MOVED = {"accuracy": (100, 0), "exits": (100, 0), "depth": (1, 2), "depth_p99": (1, 0)}
MOVED |= {"flops": (1, 2), "flops_p99": (1, 2)}
MEANING = {
    "slowdown": "Reached: of the texts that left early, those that no longer do.",
    "evasion": "Reached: of the texts answered rightly, those answered wrongly and early "
    "(under never: wrongly).",
}


def table_of(rows: Sequence[AttackRow], goal: str) -> Table:
    """The rows of a goal, in their order."""
    chosen = [row for row in rows if row.goal == goal]
    budget, kinds = chosen[0].budget, " and ".join(chosen[0].kinds)
    texts = dict.fromkeys(
        f"{r.task}: {r.num_examples} texts of {r.split}, cap {r.max_length} tokens" for r in chosen
    )
    mean = sum(row.queries for row in chosen) / len(chosen)
    caption = (
        f"{'; '.join(texts)}; at most {budget['edits']} words changed ({kinds}), "
        f"{budget['candidates']} candidates a round. {MEANING[goal]} FLOPs are over those of the "
        "whole encoder on the texts as they were; the bound is the length cap at full depth. "
        f"Queries for each text: {mean:.0f} on average, {max(r.queries_max for r in chosen)} at "
        "most."
    )
    return Table(
        f"attack-{goal}", f"Attack: {goal}", caption, COLUMNS, [line_of(row) for row in chosen]
    )


def line_of(row: AttackRow) -> Line:
    cells = {name: words(getattr(row, name)) for name in ("task", "against", "under")} | {
        "reached": number(None if row.reached is None else 100 * row.reached, 0),
        "sure_and_wrong": number(100 * row.sure_and_wrong, 0),
        "worst": number(row.flops_worst, 2),
        "bound": number(row.flops_bound, 2),
    }
    for name, (scale, digits) in MOVED.items():
        before, after = (scale * getattr(row, f"{name}_{when}") for when in ("before", "after"))
        cells[name] = Cell(after, f"{before:.{digits}f} to {after:.{digits}f}")
    return Line(cells)
