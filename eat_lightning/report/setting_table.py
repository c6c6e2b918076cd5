"""A table of settings with everything that a reader asks of each, the hidden columns too.

Its columns are a method's as well as a baseline's: accuracy with differences on the same examples,
time with ratios within one session, and the conditions of measuring and of training.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from eat_lightning.report import cells
from eat_lightning.report.cells import ONE_SEED as ONE_SEED  # claims flag with it, too
from eat_lightning.report.claim import EMPTY, Cell, Table
from eat_lightning.report.columns import Made, number, table, word
from eat_lightning.report.compare import (
    Cost,
    Entry,
    batch_ms,
    faster,
    single_ms,
    sorted_ms,
    speed_up,
)
from eat_lightning.report.figures import model_name
from eat_lightning.report.study import Point

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
PADDED = "against Hugging Face's model of the same weights"
FORMS = (
    "prepacked: matrices arranged for the processor once; Hugging Face's model is as people call it"
)
STUDENT = "against the best static model with fewer FLOPs than own static"
GAIN = (
    "points over the same weights at fixed depth and equal FLOPs; 95 % interval: paired bootstrap "
    "over the examples, over seeds the extremes"
)


def field(name: str, title: str, digits: int, help: str = "") -> Made[Entry]:
    """A field of rows, its mean over seeds."""
    return number(name, title, lambda e: e.point.mean(name), digits, help)


def metric(name: str, title: str) -> Made[Entry]:
    help = "x 100, mean ± sd over seeds"
    return Made(name, title, lambda e: cells.score(e.point, name), help)


def words(name: str, title: str = "", help: str = "") -> Made[Entry]:
    """A field of rows, its different values over seeds."""
    return Made(name, title or name, lambda e: cells.several(e.point, name), help, False)


def points(name: str, title: str, help: str) -> Made[Entry]:
    """One of an entry's differences."""
    return Made(name, title, lambda e: cells.points(getattr(e, name)), help)


def times(key: str, title: str, other: str, cost: Cost, help: str) -> Made[Entry]:
    """How many times as fast as one of the settings that an entry is compared with."""
    help = f"{help}; {EXTREMES}"
    return Made(key, title, lambda e: held(e, getattr(e, other), cost), help)


GROUPS: dict[str, list[Made[Entry]]] = {
    "": [
        word("model", "model", lambda e: name_of(e)),
        word("setting", "setting", lambda e: e.point.setting),
    ],
    "accuracy": [
        words("seed", "seeds"),
        words("num_examples", "n", "examples judged"),
        Made(
            "accuracy",
            "accuracy",
            lambda e: cells.accuracy(e.point),
            "percent, mean ± sd over seeds; its interval: 95 % over examples",
        ),
        metric("f1", "F1"),
        metric("matthews", "Matthews"),
        metric("pearson", "Pearson"),
        points("to_own", "Δ own static", f"points {OWN}; {PAIRED}"),
        Made("to_own_p", "p", lambda e: cells.p_value(e.to_own), f"{OWN}: {MCNEMAR}"),
        points("to_trained", "Δ trained static", f"points {TRAINED}; {PAIRED}"),
        Made("to_trained_p", "p", lambda e: cells.p_value(e.to_trained), f"{TRAINED}: {MCNEMAR}"),
        points("to_student", "Δ best student", f"points {STUDENT}; {PAIRED}"),
        points("gain", "Δ fixed depth", GAIN),
        field("depth", "depth", 2, "layers run, mean over examples"),
        field("retention", "retention", 3, "tokens entering the last executed layer / at first"),
        field("token_layers", "token layers", 3, "tokens over executed layers / over all, whole"),
        field("flops_ratio", "FLOPs", 3, "counted, / those of own static"),
    ],
    "time": [
        field("latency_ms", "ms", 2, "batch 1, mean over examples, from token ids to the answer"),
        field("latency_p50_ms", "p50", 2),
        field("latency_p90_ms", "p90", 2),
        field("latency_p99_ms", "p99", 2),
        field("throughput", "examples/s", 0, "in batches, as they come"),
        field("throughput_sorted", "sorted", 0, "examples/s in batches of like length"),
    ],
    "times as fast as": [
        Made(
            "speed_up",
            "own static, batch 1",
            lambda e: own_speed_up(e, ""),
            f"{OWN}; {REPEATS}",
        ),
        Made(
            "batch_speed_up",
            "own static, batches",
            lambda e: own_speed_up(e, "batch_"),
            f"{OWN}, without padding; {REPEATS}",
        ),
        field("conversion", "conversion, batch 1", 2, "speed-up / FLOPs speed-up, batch 1"),
        field("batch_conversion", "conversion, batches", 2, "speed-up / FLOPs speed-up"),
        times("to_trained_speed_up", "trained static, batch 1", "trained", single_ms, TRAINED),
        times("to_padded_speed_up", "HF, batch 1", "padded", single_ms, PADDED),
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
        word("slots", "methods", lambda e: e.point.slots),
        words("baseline"),
        words("budget", help="share of full FLOPs that the rule was fitted for"),
        words("budget_ms", "budget, ms", "time of an example that it was fitted for"),
        words("kernels"),
        words("split"),
        words("padding_factor", "padding factor", "padded tokens / real tokens, as they come"),
        words("padding_factor_sorted", "padding factor sorted"),
        words("throughput_batch", "batch"),
        words("timed_examples", "timed examples"),
        words("repeats"),
        Made("dtype", "dtype", lambda e: cells.several(e.point, "weights"), FORMS, False),
        words("lr", "learning rate"),
        words("steps"),
        words("num_train_examples", "training examples"),
        *map(words, ("teacher", "threads", "device", "machine", "session", "commit", "version")),
    ],
}


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
    columns = [replace(made, group=group) for group, some in GROUPS.items() for made in some]

    def flags(entry: Entry) -> list[str]:
        return flags_of(entry.point, entries)

    return table(name, title, caption, columns, entries, lambda e: e.point, flags)


def flags_of(point: Point, entries: Sequence[Entry]) -> list[str]:
    commits, versions = ({getattr(m.row, k) for m in point.members} for k in ("commit", "version"))
    flags = [OTHER_COMMIT] if commits != {common(entries, "commit")} else []
    flags += [OTHER_VERSION] if versions != {common(entries, "version")} else []
    return flags if point.timed else [*flags, NOT_TIMED]


def common(entries: Sequence[Entry], name: str) -> Any:
    """The value that most rows have."""
    found = [getattr(m.row, name) for entry in entries for m in entry.point.members]
    return Counter(value for value in found if value is not None).most_common(1)[0][0]
