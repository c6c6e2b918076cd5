"""Format rows as a table for a terminal."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from typing import Any

from eat_lightning.evaluation.oracle import oracle_lines
from eat_lightning.record.record import Record
from eat_lightning.runs.by_class import unfound
from eat_lightning.runs.names import budget_of, by_run, names_of, titles_of
from eat_lightning.runs.row import THEIRS, Row, label
from eat_lightning.runs.run import Run
from eat_lightning.weights.precision import PLAIN

MOST = 10  # classes whose recall is printed
WIDTH = 120  # where there is no terminal to ask
OVER = 0.005  # of full FLOPs: by less than that a budget is as good as kept


def decimals(value: float | None, digits: int = 2) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def gain(row: Row) -> str:
    """Gain over fixed depth and over the best mix of two depths, in points, with intervals."""
    over_depth = row.adaptivity_gain, row.adaptivity_gain_low, row.adaptivity_gain_high
    over_mix = row.mix_gain, row.mix_gain_low, row.mix_gain_high
    return "\n".join(filter(None, (with_interval(*over_depth), with_interval(*over_mix, "mix "))))


def with_interval(
    middle: float | None, low: float | None, high: float | None, name: str = ""
) -> str:
    """Format points with their interval; an empty string without a value."""
    if middle is None or low is None or high is None:
        return ""
    return f"{name}{100 * middle:+.1f} ({100 * low:+.1f}, {100 * high:+.1f})"


NUMBERS = {
    "score": lambda row: f"{100 * row.score:.2f}",
    "gain": gain,
    "depth": lambda row: f"{row.depth:.2f}",
    "reten-\ntion": lambda row: f"{row.retention:.3f}",
    "token\nlayers": lambda row: f"{row.token_layers:.3f}",
    "FLOPs\nratio": lambda row: f"{row.flops_ratio:.3f}",
}
TIMES = {
    "mean\nms": lambda row: decimals(row.latency_ms),
    "p50\nms": lambda row: decimals(row.latency_p50_ms),
    "p99\nms": lambda row: decimals(row.latency_p99_ms),
    "speed\n-up": lambda row: decimals(row.speed_up),
    "ex/s": lambda row: decimals(row.throughput, 0),
    "ex/s\nsorted": lambda row: decimals(row.throughput_sorted, 0),
}


def show(rows: Sequence[Row], runs: Sequence[Run]) -> None:
    """Print rows in the order of `runs`, a line for each run, and notes on the numbers."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    timed = any(row.latency_ms is not None for row in rows)
    columns = NUMBERS | TIMES if timed else NUMBERS
    if all(row.adaptivity_gain is None for row in rows):
        columns = {name: cell for name, cell in columns.items() if name != "gain"}
    several, names = len({row.seed for row in rows}) > 1, names_of(rows)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("model", overflow="fold")
    table.add_column("setting", overflow="fold", min_width=14)  # "fixed depth 12" in one line
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    for i, (row, title) in enumerate(zip(rows, titles_of(rows), strict=True)):
        name = names[row.setting] + (f" s{row.seed}" if several else "")
        last = i + 1 == len(rows) or rows[i + 1].run != row.run
        cells = [cell(row) for cell in columns.values()]
        table.add_row(name, titled(row, title), *cells, end_section=last)
    Console(width=None if sys.stdout.isatty() else WIDTH).print(table)
    firsts = [group[0] for group in by_run(rows).values()]
    exits = [run.model_config()["exit"] for run in runs]
    print("\n".join([*map(described, firsts), *notes(rows, exits), *oracles(rows, runs)]))
    names = sorted({row.file for row in rows})
    print("rows: " + ", ".join(str(run.folder / name) for run in runs for name in names))


def titled(row: Row, title: str) -> str:
    """Return the title of a setting. For a fitted setting it includes the reduction's strength and
    the budget. Thresholds are rounded to three decimals here and stored in full in the row.
    """
    if not row.fitted:
        return title
    short = re.sub(r"\d\.\d{4,}", lambda found: f"{float(found[0]):.3f}", title)
    return f"{short}, {label(row.reduction)} for {budget_of(row)}"


def described(row: Row) -> str:
    """Describe what a run's rows share: model, seed, encoder, methods and strength."""
    slots = map(str, (row.attention, row.reduction))
    strength = "" if row.strength == 1 else f", strength {row.strength:.2f}"
    return f"{row.model} seed {row.seed}: {row.encoder}, {', '.join(slots)}{strength}"


def notes(rows: Sequence[Row], exits: Sequence[dict[str, Any]]) -> list[str]:
    """Return notes on a table's numbers: their meaning, and how they were measured.

    Args:
        exits: the exit rules that the runs are configured with.
    """
    scores = {f"{r.task} {r.metric}": f"{r.num_examples} examples of {r.split}" for r in rows}
    lines = ["score: " + "; ".join(f"{name} x 100 on {what}" for name, what in scores.items())]
    majorities = {r.task: r.majority for r in rows if r.majority is not None}
    if majorities:
        shares = ", ".join(f"{name} {100 * share:.2f}" for name, share in majorities.items())
        lines[0] += f" (largest class: {shares})"
    if read := {row.windows for row in rows if row.windows}:
        lines.append(f"long texts: in windows {read.pop()}; numbers are of whole texts")
    lines += recall_notes(rows, exits)
    if any(row.adaptivity_gain is not None for row in rows):
        lines.append(
            "gain: score minus that of fixed depth at equal FLOPs; mix: minus that of the best "
            "random mix of two depths (in brackets: 95 % interval, paired). Baselines have none"
        )
    lines += over_budget(rows)
    for row, title in zip(rows, titles_of(rows), strict=True):
        if row.policy and row.exit_reasons:
            shares = ", ".join(f"{name} {100 * x:.1f} %" for name, x in row.exit_reasons.items())
            lines.append(f"exit reasons under {title}: {shares}")
    timed: Any = next((row for row in rows if row.latency_ms is not None), None)
    return lines if timed is None else [*lines, *timing_notes(timed, rows)]


def over_budget(rows: Sequence[Row]) -> list[str]:
    """List the settings that cost more than their budget on these examples."""
    over = [
        f"  seed {row.seed}, {row.exit.kind}: {row.flops_ratio:.3f} for {row.budget:g}"
        for row in rows
        if row.budget is not None and row.flops_ratio > row.budget + OVER
    ]
    return (
        [f"over the budget by more than {OVER:g}; it holds on the calibration cut:", *over]
        if over
        else []
    )


def recall_notes(rows: Sequence[Row], exits: Sequence[dict[str, Any]] = ()) -> list[str]:
    """List the recall of each class under each run's own setting (or its first), and the classes
    that a setting never predicts.
    """
    lines, of_runs = [], by_run(rows)
    for group in of_runs.values():
        whose = f"seed {group[0].seed}, " if len(of_runs) > 1 else ""
        lines += recall_lines(next((row for row in group if row.exit in exits), group[0]), whose)
        for name in group[0].recall:
            blind = [row for row in group if row.recall.get(name) == 0]
            titles = ", ".join(dict.fromkeys(row.title for row in blind))
            lines += unfound([name] if blind else [], "" if blind == group else f" under {titles}")
    return lines


def recall_lines(row: Row, whose: str = "") -> list[str]:
    """Format a row's recall in one line, showing the lowest of many classes.

    Returns no lines where the row has no classes.
    """
    if not row.recall:
        return []
    num, shown = len(row.recall), row.recall.items()
    least = f", the least {MOST} of {num} classes" if num > MOST else ""
    if least:
        shown = sorted(shown, key=lambda item: item[1])[:MOST]
    shares = ", ".join(f"{name} {share:.2f}" for name, share in shown)
    return [f"recall ({whose}{row.title}{least}): {shares}"]


def oracles(rows: Sequence[Row], runs: Sequence[Run]) -> list[str]:
    """List the oracle bounds for the backbone of each run's first row, from the records beside the
    rows.
    """
    lines, of_runs = [], by_run(rows)
    for run in runs:
        (row, *_) = of_runs.get((str(run.config["study"]), run.name), [None])
        if row is not None and row.examples:
            where = f"{row.model} seed {row.seed}: " if len(runs) > 1 else ""
            found = oracle_lines(Record.read(run.folder / row.examples))
            lines += [where + line for line in found]
    return lines


def timing_notes(row: Row, rows: Sequence[Row]) -> list[str]:
    threads = f"{row.threads} thread" + ("" if row.threads == 1 else "s")
    lines = [
        f"time: ids to answer, batch {row.latency_batch} (ex/s: batch {row.throughput_batch}), "
        f"{row.timed_examples} examples x {row.repeats}, {row.weights}, {threads}, "
        f"{row.device}, {row.machine}",
        f"padding factor: {row.padding_factor:.2f}, sorted {row.padding_factor_sorted:.2f}",
    ]
    if row.form != PLAIN and any(r.baseline == THEIRS for r in rows):
        lines.append("hugging face: with its own plain weights, not prepacked")
    return lines
