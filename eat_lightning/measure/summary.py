"""Rows as a table for a terminal."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from eat_lightning.infer.precision import PLAIN
from eat_lightning.measure.settings import THEIRS, label, text
from eat_lightning.runs.row import Row
from eat_lightning.runs.run import Run

WIDTH = 100  # where there is no terminal to ask


def show(rows: Sequence[Row], runs: Sequence[Run]) -> None:
    """Rows in the order of `runs`, a line for each run, and what the numbers mean."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    timed = any(row.latency_ms is not None for row in rows)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("model", overflow="fold")
    table.add_column("setting", overflow="fold")
    for name in [*NUMBERS, *(TIMES if timed else ())]:
        table.add_column(name, justify="right", no_wrap=True)
    several = len({row.seed for row in rows}) > 1
    for i, row in enumerate(rows):
        name = f"{row.model} s{row.seed}" if several else row.model
        last = i + 1 == len(rows) or rows[i + 1].run != row.run
        table.add_row(name, *cells(row, timed), end_section=last)
    Console(width=None if sys.stdout.isatty() else WIDTH).print(table)
    print("\n".join([*map(described, rows_of_runs(rows)), *notes(rows, timed)]))
    names = sorted({"rows-policy.jsonl" if row.policy else "rows.jsonl" for row in rows})
    print("rows: " + ", ".join(str(run.folder / name) for run in runs for name in names))


def rows_of_runs(rows: Sequence[Row]) -> list[Row]:
    """The first row of each run."""
    return list({(row.study, row.run): row for row in reversed(rows)}.values())[::-1]


def described(row: Row) -> str:
    """What a run's rows have in common."""
    slots = []
    for method in (row.attention, row.reduction):
        settings = [f"{k} {text(v)}" for k, v in method.items() if k != "kind" and v is not None]
        slots.append(" ".join([method["kind"], *settings]))
    strength = "" if row.strength == 1 else f", strength {row.strength:.2f}"
    return f"{row.model} seed {row.seed}: {row.encoder}, {', '.join(slots)}{strength}"


NUMBERS = ("score", "depth", "reten-\ntion", "token\nlayers", "FLOPs\nratio")
TIMES = ("mean\nms", "p50\nms", "p99\nms", "speed\n-up", "ex/s", "ex/s\nsorted")


def cells(row: Row, timed: bool) -> list[str]:
    asked = [str(policy["kind"]) for policy in row.policy]
    name = row.baseline or " + ".join([label(row.exit), *asked])
    found = [name, f"{100 * getattr(row, row.metric):.2f}", f"{row.depth:.2f}"]
    found += [f"{x:.3f}" for x in (row.retention, row.token_layers, row.flops_ratio)]
    if timed:
        times = row.latency_ms, row.latency_p50_ms, row.latency_p99_ms, row.speed_up
        found += ["" if x is None else f"{x:.2f}" for x in times]
        rates = row.throughput, row.throughput_sorted
        found += ["" if x is None else f"{x:.0f}" for x in rates]
    return found


def notes(rows: Sequence[Row], timed: bool) -> list[str]:
    """What the numbers are, and how they were taken."""
    row = rows[0]
    scores = {f"{r.task} {r.metric}": f"{r.num_examples} examples of {r.split}" for r in rows}
    lines = ["score: " + "; ".join(f"{name} x 100 on {what}" for name, what in scores.items())]
    majorities = {r.task: r.majority for r in rows if r.majority is not None}
    if majorities:
        shares = ", ".join(f"{name} {100 * share:.2f}" for name, share in majorities.items())
        lines[0] += f" (largest class: {shares})"
    for asked in (row for row in rows if row.policy and row.exit_reasons):
        shares = ", ".join(f"{name} {100 * x:.1f} %" for name, x in asked.exit_reasons.items())
        lines.append(f"why, under {cells(asked, timed=False)[0]}: {shares}")
    if timed:
        lines.append(
            f"time: ids to answer, batch {row.latency_batch} (ex/s: batch {row.throughput_batch}), "
            f"{row.timed_examples} examples x {row.repeats}, {row.weights}, {plural(row.threads)}, "
            f"{row.device}, {row.machine}"
        )
        lines.append(
            f"padding factor: {row.padding_factor:.2f}, sorted {row.padding_factor_sorted:.2f}"
        )
        if row.form != PLAIN and any(r.baseline == THEIRS for r in rows):
            lines.append("hugging face: as people call it, its weights are not prepacked")
    return lines


def plural(threads: Any) -> str:
    return f"{threads} thread" + ("" if threads == 1 else "s")
