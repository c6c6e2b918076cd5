"""A table of settings with all measured fields, including hidden columns.

Methods and baselines share its columns: accuracy with differences on the same examples, time with
ratios within one session, and the conditions of measurement and training.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from eat_lightning.report import cells, speed
from eat_lightning.report import columns as col
from eat_lightning.report.baselines import GAIN, MIX, TRAINED, Entry
from eat_lightning.report.speed import (
    EXTREMES,
    REPEATS,
    Cost,
    batch_ms,
    faster,
    single_ms,
    sorted_ms,
    speed_up,
)
from eat_lightning.report.study import Mark
from eat_lightning.report.table import EMPTY, Cell, Column, Table

OTHER_VERSION = "measured by another version than most of the table"
NOT_TIMED = "not timed"
NO_SESSION = "no speed-up: both were not timed in one session"
NO_OWN = "no speed-up: own static was not measured"
OWN = "against own static"
PADDED = "against Hugging Face's model of the same weights"
FORMS = "prepacked: matrices packed once for the processor; Hugging Face's model has plain weights"
STUDENT = "against the best static model with fewer FLOPs than own static"


def metric(name: str, title: str) -> Column:
    help = "x 100, mean ± sd over seeds"
    return Column(name, title, help, cell=lambda e: cells.score(e.point, name))


def own_times(prefix: str, title: str, help: str) -> Column:
    """Column of the speed-up over own static, read from the rows."""

    def cell(entry: Entry) -> Cell:
        if not entry.point.timed:
            return EMPTY
        if entry.point.is_static:
            return Cell(1.0, "1")
        return speed.times(speed_up(entry.point, prefix), NO_SESSION if entry.own else NO_OWN)

    return Column(f"{prefix}speed_up", title, f"{help}; {REPEATS}", cell=cell)


def times(key: str, title: str, other: str, cost: Cost, help: str) -> Column:
    """Column of the speed-up over another setting of the entry."""
    help = f"{help}; {EXTREMES}"
    return Column(key, title, help, cell=lambda e: held(e, getattr(e, other), cost))


ACCURACY = [
    col.seeds("seed"),
    col.values("num_examples", "n", "examples judged"),
    col.accuracy(help="percent, mean ± sd over seeds; its interval: 95 % over examples"),
    metric("f1", "F1"),
    metric("matthews", "Matthews"),
    metric("pearson", "Pearson"),
    col.points("to_own", "Δ own static", help=f"points {OWN}; {col.PAIRED}"),
    col.p_value("to_own_p", "to_own", f"{OWN}: {col.MCNEMAR}"),
    col.points("to_trained", "Δ trained static", help=f"points {TRAINED}; {col.PAIRED}"),
    col.p_value("to_trained_p", "to_trained", f"{TRAINED}: {col.MCNEMAR}"),
    col.points("to_student", "Δ best student", help=f"points {STUDENT}; {col.PAIRED}"),
    col.points("gain", "Δ fixed depth", help=GAIN),
    col.points("mix_gain", "Δ best mix", help=MIX),
    col.field("depth", "depth", 2, "layers run, mean over examples"),
    col.field(
        "retention", "retention", 3, "tokens entering the last executed layer / initial tokens"
    ),
    col.field(
        "token_layers",
        "token layers",
        3,
        "tokens summed over the executed layers / initial tokens x all layers",
    ),
    col.field("flops_ratio", "FLOPs", 3, "counted, as a share of own static's"),
]
TIME = [
    col.field("latency_ms", "ms", 2, "batch 1, mean over examples, from token ids to the answer"),
    col.field("latency_p50_ms", "p50", 2),
    col.field("latency_p90_ms", "p90", 2),
    col.field("latency_p99_ms", "p99", 2),
    col.field("throughput", "examples/s", 0, "in batches, in order of arrival"),
    col.field("throughput_sorted", "sorted", 0, "examples/s in batches sorted by length"),
]
FASTER = [
    own_times("", "own static, batch 1", OWN),
    own_times("batch_", "own static, batches", f"{OWN}, without padding"),
    col.field("conversion", "conversion, batch 1", 2, "speed-up / FLOPs speed-up, batch 1"),
    col.field("batch_conversion", "conversion, batches", 2, "speed-up / FLOPs speed-up"),
    times("to_trained_speed_up", "trained static, batch 1", "trained", single_ms, TRAINED),
    times("to_padded_speed_up", "HF, batch 1", "padded", single_ms, PADDED),
    times(
        "to_padded_batch", "HF padded batches", "padded", batch_ms, "the same, in order of arrival"
    ),
    times(
        "to_padded_sorted", "HF sorted batches", "padded", sorted_ms, "the same, sorted by length"
    ),
]
CONDITIONS = [
    col.values("encoder", "body"),
    col.word("slots", "methods", "point.slots"),
    col.values("baseline"),
    col.values("budget", help="share of full FLOPs that the rule was fitted for"),
    col.values("budget_ms", "budget, ms", "time per example that it was fitted for"),
    col.values("kernels"),
    col.values("split"),
    col.values(
        "padding_factor", "padding factor", "padded tokens / real tokens, in order of arrival"
    ),
    col.values("padding_factor_sorted", "padding factor sorted"),
    col.values("throughput_batch", "batch"),
    col.values("timed_examples", "timed examples"),
    col.values("repeats"),
    col.values("weights", "dtype", FORMS, key="dtype"),
    col.values("lr", "learning rate"),
    col.values("steps"),
    col.values("num_train_examples", "training examples"),
    *map(col.values, ("teacher", "threads", "device", "machine", "session", "commit", "version")),
]
COLUMNS = [
    col.word("model", "model", "model"),
    col.word("setting", "setting", "point.title"),
    *col.grouped("accuracy", ACCURACY),
    *col.grouped("time", TIME),
    *col.grouped("times as fast as", FASTER),
    *col.grouped("conditions", CONDITIONS),
]


def held(entry: Entry, other: Mark | None, cost: Cost) -> Cell:
    """Cell of the speed-up over another setting."""
    if other is None or not entry.point.timed or not other.timed:
        return EMPTY
    return speed.times(faster(entry.point, other, cost), NO_SESSION)


def table_of_settings(name: str, title: str, caption: str, entries: Sequence[Entry]) -> Table:
    """Return a line for each setting, flagged where commit or version differ from most others."""
    told = {"commit": cells.OTHER_COMMIT, "version": OTHER_VERSION}
    usual = {name: common(entries, name) for name in told}

    def flags(entry: Entry) -> Iterator[str]:
        for name, flag in told.items():
            if {getattr(m.row, name) for m in entry.point.members} != {usual[name]}:
                yield flag
        if not entry.point.timed:
            yield NOT_TIMED

    return col.table(name, title, caption, COLUMNS, entries, flags=flags)


def common(entries: Sequence[Entry], name: str) -> Any:
    """Return the most frequent value."""
    found = [getattr(m.row, name) for entry in entries for m in entry.point.members]
    return Counter(value for value in found if value is not None).most_common(1)[0][0]
