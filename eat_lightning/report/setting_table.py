"""A table of settings with everything that a reader asks of each, the hidden columns too.

Its columns are a method's as well as a baseline's: accuracy with differences on the same examples,
time with ratios within one session, and the conditions of measuring.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from eat_lightning.report import cells
from eat_lightning.report.claim import Cell, Column, Line, Table
from eat_lightning.report.compare import (
    Entry,
    Time,
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


class Making(NamedTuple):
    """A column, and how its cells are made."""

    key: str
    title: str
    cell: Callable[[Entry], Cell]
    help: str = ""
    numeric: bool = True


def mean(name: str, title: str, digits: int, help: str = "") -> Making:
    return Making(name, title, lambda e: cells.number(e.point.mean(name), digits), help)


def metric(name: str, title: str) -> Making:
    return Making(name, title, lambda e: cells.score(e.point, name), "x 100, mean ± sd over seeds")


def told(name: str, title: str = "", help: str = "") -> Making:
    return Making(name, title or name, lambda e: cells.several(e.point, name), help, False)


def word(key: str, title: str, of: Callable[[Point], str]) -> Making:
    return Making(key, title, lambda e: cells.words(of(e.point)), "", False)


OWN = "against own static"
TRAINED = "against the static model of that body that was trained for itself"
SETTINGS = [
    Making("model", "model", lambda e: cells.words(name_of(e)), "", False),
    word("setting", "setting", lambda p: p.setting),
]
ACCURACY = [
    told("seed", "seeds"),
    told("num_examples", "n", "examples judged"),
    Making(
        *("accuracy", "accuracy", lambda e: cells.accuracy(e.point)),
        "percent, mean ± sd over seeds; its interval: 95 % over examples",
    ),
    metric("f1", "F1"),
    metric("matthews", "Matthews"),
    metric("pearson", "Pearson"),
    Making("to_own", "Δ own static", lambda e: cells.points(e.to_own), f"points {OWN}; {PAIRED}"),
    Making("to_own_p", "p", lambda e: cells.p_value(e.to_own), f"{OWN}: {MCNEMAR}"),
    Making(
        *("to_trained", "Δ trained static", lambda e: cells.points(e.to_trained)),
        f"points {TRAINED}; {PAIRED}",
    ),
    Making("to_trained_p", "p", lambda e: cells.p_value(e.to_trained), f"{TRAINED}: {MCNEMAR}"),
    mean("depth", "depth", 2, "layers run, mean over examples"),
    mean("retention", "retention", 3, "tokens entering the last executed layer / tokens at first"),
    mean("token_layers", "token layers", 3, "tokens summed over executed layers / over all, whole"),
    mean("flops_ratio", "FLOPs", 3, "counted, / those of own static"),
]
TIME = [
    mean("latency_ms", "ms", 2, "batch 1, mean over examples, from token ids to the answer"),
    mean("latency_p50_ms", "p50", 2),
    mean("latency_p90_ms", "p90", 2),
    mean("latency_p99_ms", "p99", 2),
    mean("throughput", "examples/s", 0, "in batches, as they come"),
    mean("throughput_sorted", "sorted", 0, "examples/s in batches of like length"),
]
SPEED_UP = [
    Making("speed_up", "own static, batch 1", lambda e: own_speed_up(e, ""), f"{OWN}; {REPEATS}"),
    Making(
        *("batch_speed_up", "own static, batches", lambda e: own_speed_up(e, "batch_")),
        f"{OWN}, without padding; {REPEATS}",
    ),
    mean("conversion", "conversion, batch 1", 2, "speed-up / FLOPs speed-up, batch 1"),
    mean("batch_conversion", "conversion, batches", 2, "speed-up / FLOPs speed-up, in batches"),
    Making(
        *(
            "to_trained_speed_up",
            "trained static, batch 1",
            lambda e: held(e, e.trained, single_ms),
        ),
        f"{TRAINED}; {EXTREMES}",
    ),
    Making(
        *("to_padded_speed_up", "HF, batch 1", lambda e: held(e, e.padded, single_ms)),
        f"against Hugging Face's model of the same weights; {EXTREMES}",
    ),
    Making(
        *("to_padded_batch", "HF padded batches", lambda e: held(e, e.padded, batch_ms)),
        f"the same, in padded batches as they come; {EXTREMES}",
    ),
    Making(
        *("to_padded_sorted", "HF sorted batches", lambda e: held(e, e.padded, sorted_ms)),
        f"the same, both in batches of like length; {EXTREMES}",
    ),
]
CONDITIONS = [
    told("encoder", "body"),
    word("slots", "methods", lambda p: p.slots),
    told("baseline", "baseline"),
    told("kernels"),
    told("split"),
    told("padding_factor", "padding factor", "padded tokens / real tokens, as they come"),
    told("padding_factor_sorted", "padding factor sorted"),
    told("throughput_batch", "batch"),
    told("timed_examples", "timed examples"),
    told("repeats"),
    Making(
        *("dtype", "dtype", lambda e: cells.several(e.point, "weights")),
        "prepacked: matrices arranged for the processor once; Hugging Face's model is as people "
        "call it",
        False,
    ),
    *map(told, ("threads", "device", "machine", "session")),
    *map(told, ("commit", "version")),
]
GROUPS = {
    "": SETTINGS,
    "accuracy": ACCURACY,
    "time": TIME,
    "times as fast as": SPEED_UP,
    "conditions": CONDITIONS,
}


def name_of(entry: Entry) -> str:
    return model_name(entry.point.row, [measured.row for measured in entry.study.measured])


def own_speed_up(entry: Entry, prefix: str) -> Cell:
    if not entry.point.timed:
        return cells.EMPTY
    if entry.point.is_static:
        return Cell(1.0, "1")
    return cells.times(speed_up(entry.point, prefix), NO_SESSION if entry.own else NO_OWN)


def held(entry: Entry, other: Point | None, time: Time) -> Cell:
    """How many times as fast as another setting."""
    if other is None or not entry.point.timed or not other.timed:
        return cells.EMPTY
    return cells.times(faster(entry.point, other, time), NO_SESSION)


def table_of_settings(name: str, title: str, caption: str, entries: Sequence[Entry]) -> Table:
    """A line for each setting; flagged where it is of another commit or version than most."""
    columns = [
        Column(making.key, making.title, making.help, making.numeric, group)
        for group, makings in GROUPS.items()
        for making in makings
    ]
    return Table(name, title, caption, columns, [line_of(entry, entries) for entry in entries])


def line_of(entry: Entry, entries: Sequence[Entry]) -> Line:
    makings = [making for group in GROUPS.values() for making in group]
    made = {making.key: making.cell(entry) for making in makings}
    return Line(made, source_of(entry.point), flags_of(entry.point, entries))


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
