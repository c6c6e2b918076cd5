"""A table of settings with everything that a reader asks of each, the hidden columns too.

Its columns are a method's as well as a baseline's: accuracy with differences on the same examples,
time with ratios within one session, and the conditions of measuring and of training.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from eat_lightning.report import cells
from eat_lightning.report.claim import EMPTY, Cell, Column, Line, Table
from eat_lightning.report.compare import (
    Cost,
    Entry,
    batch_ms,
    faster,
    single_ms,
    sorted_ms,
    source_of,
    speed_up,
)
from eat_lightning.report.figures import model_name
from eat_lightning.report.study import Point

ONE_SEED = "one seed"
OTHER_COMMIT = "measured at another commit than most of the table"
OTHER_VERSION = "measured by another version than most of the table"
NOT_TIMED = "not timed"
NO_SESSION = "not divided: its rows name no session in which both took turns"
NO_OWN = "not divided: own static was not measured"
PAIRED = "95 % interval: paired bootstrap over the examples, seeds averaged"
MCNEMAR = "p of McNemar's exact test, two-sided; over seeds the median (lowest to highest)"
REPEATS = "in brackets the lowest and the highest of the repeats, over seeds the extremes"
EXTREMES = "in brackets the extremes of the repeats divided: rather too wide"
OWN = "against own static"
TRAINED = "against the static model of that body that was trained for itself"
STUDENT = "against the best static model with fewer FLOPs than own static"
GAIN = (
    "points over the same weights at fixed depth and equal FLOPs; 95 % interval: paired bootstrap "
    "over the examples, over seeds the extremes"
)


@dataclass(frozen=True)
class Making:
    """A column, and how its cells are made."""

    column: Column
    cell: Callable[[Entry], Cell]


def column(
    key: str, title: str, cell: Callable[[Entry], Cell], help: str = "", numeric: bool = True
) -> Making:
    return Making(Column(key, title, help, numeric), cell)


def mean(name: str, title: str, digits: int, help: str = "") -> Making:
    return column(name, title, lambda e: cells.number(e.point.mean(name), digits), help)


def metric(name: str, title: str) -> Making:
    return column(name, title, lambda e: cells.score(e.point, name), "x 100, mean ± sd over seeds")


def words(name: str, title: str = "", help: str = "") -> Making:
    return column(name, title or name, lambda e: cells.several(e.point, name), help, False)


def times(key: str, title: str, other: str, cost: Cost, help: str) -> Making:
    """How many times as fast as another setting of an entry."""
    return column(key, title, lambda e: held(e, getattr(e, other), cost), f"{help}; {EXTREMES}")


GROUPS = {
    "": [
        column("model", "model", lambda e: cells.words(name_of(e)), numeric=False),
        column("setting", "setting", lambda e: cells.words(e.point.setting), numeric=False),
    ],
    "accuracy": [
        words("seed", "seeds"),
        words("num_examples", "n", "examples judged"),
        column(
            "accuracy",
            "accuracy",
            lambda e: cells.accuracy(e.point),
            "percent, mean ± sd over seeds; its interval: 95 % over examples",
        ),
        metric("f1", "F1"),
        metric("matthews", "Matthews"),
        metric("pearson", "Pearson"),
        column(
            "to_own", "Δ own static", lambda e: cells.points(e.to_own), f"points {OWN}; {PAIRED}"
        ),
        column("to_own_p", "p", lambda e: cells.p_value(e.to_own), f"{OWN}: {MCNEMAR}"),
        column(
            "to_trained",
            "Δ trained static",
            lambda e: cells.points(e.to_trained),
            f"points {TRAINED}; {PAIRED}",
        ),
        column("to_trained_p", "p", lambda e: cells.p_value(e.to_trained), f"{TRAINED}: {MCNEMAR}"),
        column(
            "to_student",
            "Δ best student",
            lambda e: cells.points(e.to_student if e.adaptive else None),
            f"points {STUDENT}; {PAIRED}",
        ),
        column("gain", "Δ fixed depth", lambda e: cells.points(e.gain), GAIN),
        mean("depth", "depth", 2, "layers run, mean over examples"),
        mean("retention", "retention", 3, "tokens entering the last executed layer / at first"),
        mean("token_layers", "token layers", 3, "tokens over executed layers / over all, whole"),
        mean("flops_ratio", "FLOPs", 3, "counted, / those of own static"),
    ],
    "time": [
        mean("latency_ms", "ms", 2, "batch 1, mean over examples, from token ids to the answer"),
        mean("latency_p50_ms", "p50", 2),
        mean("latency_p90_ms", "p90", 2),
        mean("latency_p99_ms", "p99", 2),
        mean("throughput", "examples/s", 0, "in batches, as they come"),
        mean("throughput_sorted", "sorted", 0, "examples/s in batches of like length"),
    ],
    "times as fast as": [
        column(
            "speed_up",
            "own static, batch 1",
            lambda e: own_speed_up(e, ""),
            f"{OWN}; {REPEATS}",
        ),
        column(
            "batch_speed_up",
            "own static, batches",
            lambda e: own_speed_up(e, "batch_"),
            f"{OWN}, without padding; {REPEATS}",
        ),
        mean("conversion", "conversion, batch 1", 2, "speed-up / FLOPs speed-up, batch 1"),
        mean("batch_conversion", "conversion, batches", 2, "speed-up / FLOPs speed-up, in batches"),
        times("to_trained_speed_up", "trained static, batch 1", "trained", single_ms, TRAINED),
        times(
            "to_padded_speed_up",
            "HF, batch 1",
            "padded",
            single_ms,
            "against Hugging Face's model of the same weights",
        ),
        times(
            "to_padded_batch",
            "HF padded batches",
            "padded",
            batch_ms,
            "the same, in padded batches as they come",
        ),
        times(
            "to_padded_sorted",
            "HF sorted batches",
            "padded",
            sorted_ms,
            "the same, both in batches of like length",
        ),
    ],
    "conditions": [
        words("encoder", "body"),
        column("slots", "methods", lambda e: cells.words(e.point.slots), numeric=False),
        words("baseline"),
        words("budget", help="share of full FLOPs that the rule was fitted for"),
        words("kernels"),
        words("split"),
        words("padding_factor", "padding factor", "padded tokens / real tokens, as they come"),
        words("padding_factor_sorted", "padding factor sorted"),
        words("throughput_batch", "batch"),
        words("timed_examples", "timed examples"),
        words("repeats"),
        column(
            "dtype",
            "dtype",
            lambda e: cells.several(e.point, "weights"),
            "prepacked: matrices arranged for the processor once; Hugging Face's model is as "
            "people call it",
            False,
        ),
        words("lr", "learning rate"),
        words("steps"),
        words("num_train_examples", "training examples"),
        words("teacher"),
        *[words(name) for name in ("threads", "device", "machine", "session")],
        *[words(name) for name in ("commit", "version")],
    ],
}
MAKINGS = [making for group in GROUPS.values() for making in group]


def name_of(entry: Entry) -> str:
    return model_name(entry.point.row, [measured.row for measured in entry.study.measured])


def own_speed_up(entry: Entry, prefix: str) -> Cell:
    if not entry.point.timed:
        return EMPTY
    if entry.point.is_static:
        return Cell(1.0, "1")
    return cells.times(speed_up(entry.point, prefix), NO_SESSION if entry.own else NO_OWN)


def held(entry: Entry, other: Point | None, cost: Cost) -> Cell:
    """How many times as fast as another setting."""
    if other is None or not entry.point.timed or not other.timed:
        return EMPTY
    return cells.times(faster(entry.point, other, cost), NO_SESSION)


def table_of_settings(name: str, title: str, caption: str, entries: Sequence[Entry]) -> Table:
    """A line for each setting; flagged where it is of another commit or version than most."""
    columns = [
        Column(m.column.key, m.column.title, m.column.help, m.column.numeric, group)
        for group, makings in GROUPS.items()
        for m in makings
    ]
    lines = [
        Line(
            {making.column.key: making.cell(entry) for making in MAKINGS},
            source_of(entry.point),
            flags_of(entry.point, entries),
        )
        for entry in entries
    ]
    return Table(name, title, caption, columns, lines)


def flags_of(point: Point, entries: Sequence[Entry]) -> tuple[str, ...]:
    commits, versions = ({getattr(m.row, k) for m in point.members} for k in ("commit", "version"))
    flags = [ONE_SEED] if len(point.members) == 1 else []
    flags += [OTHER_COMMIT] if commits != {common(entries, "commit")} else []
    flags += [OTHER_VERSION] if versions != {common(entries, "version")} else []
    return tuple(flags if point.timed else [*flags, NOT_TIMED])


def common(entries: Sequence[Entry], name: str) -> Any:
    """The value that most rows have."""
    found = [getattr(m.row, name) for entry in entries for m in entry.point.members]
    return Counter(value for value in found if value is not None).most_common(1)[0][0]
