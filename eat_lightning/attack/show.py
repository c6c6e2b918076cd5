"""Attacks on the terminal: a line for each rule attacked and each rule judged under."""

from __future__ import annotations

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.table import Table

from eat_lightning.attack.rows import AttackRow

MEANING = {
    "slowdown": "reached: of the texts that left early, those that no longer do",
    "evasion": "reached: of the texts answered rightly, those answered wrongly and early "
    "(under never: wrongly)",
}
ANSWERS = ("reached %", "accuracy %", "early and\nwrong %", "leave\nearly %")
COSTS = ("depth", "depth p99", "FLOPs", "FLOPs p99", "worst", "bound")


def table_of(rows: Sequence[AttackRow], goal: str) -> Table:
    chosen = [row for row in rows if row.goal == goal]
    first, most = chosen[0], max(row.queries_max for row in chosen)
    caption = (
        f"{first.num_examples} texts of {first.split}, cap {first.max_length} tokens; at most "
        f"{first.budget['edits']} words changed ({' and '.join(first.kinds)}), {most} queries each "
        f"at most. Before to after; {MEANING[goal]}. FLOPs are over the whole encoder's."
    )
    table = Table(title=f"Attack on {first.task}: {goal}", caption=caption, box=SIMPLE_HEAD)
    for name in ("attack on", "judged under"):
        table.add_column(name, no_wrap=True)
    for name in ANSWERS + COSTS:
        table.add_column(name, justify="right", no_wrap=True)
    for row in chosen:
        table.add_row(row.against, row.under, *cells(row))
    return table


def cells(row: AttackRow) -> list[str]:
    def moved(name: str, digits: int = 2, scale: int = 1) -> str:
        before, after = (scale * getattr(row, f"{name}_{when}") for when in ("before", "after"))
        return f"{before:.{digits}f}→{after:.{digits}f}"

    return [
        "" if row.reached is None else f"{100 * row.reached:.0f}",
        moved("accuracy", 0, 100),
        f"{100 * row.sure_and_wrong:.0f}",
        moved("exits", 0, 100),
        moved("depth"),
        moved("depth_p99", 0),
        moved("flops"),
        moved("flops_p99"),
        f"{row.flops_worst:.2f}",
        f"{row.flops_bound:.2f}",
    ]
