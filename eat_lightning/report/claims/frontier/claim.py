"""Accuracy against time for every model, baseline and tau of a task (EAT, figure 4, tables 1-3).

    eat report study=outputs/frontier claims=[frontier]

Measure all runs of a task in one call with `baselines=all`, because speed-ups are computed only
within one session.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from eat_lightning.errors import ConfigError
from eat_lightning.report import cells
from eat_lightning.report import columns as col
from eat_lightning.report.baselines import Entry
from eat_lightning.report.claims.frontier.figure import figures_of
from eat_lightning.report.claims.frontier.settings import common, held, table_of_settings
from eat_lightning.report.difference import Difference, difference
from eat_lightning.report.section import Section
from eat_lightning.report.speed import EXTREMES, batch_ms, faster, single_ms, speed_up
from eat_lightning.report.study import Mark, Study, grouped_by
from eat_lightning.report.table import Table
from eat_lightning.runs.row import THEIRS
from eat_lightning.weights.precision import PLAIN

TRAINED = "the separately trained static model"
BASELINES = {"to_own": "its own static", "to_trained": TRAINED}
MOST_LOST = 1.0  # points below a baseline that a setting may be, to be called as good
PLACE = 10  # on the page


def claim(study: Study) -> Section:
    """Return tables and figures per task, and the fastest setting within a point of its
    baselines.
    """
    tasks = {task: entries_of(study, task) for task in study.tasks}
    entries = [entry for found in tasks.values() for entry in found]
    if not any(entry.point.timed for entry in entries):
        raise ConfigError(
            "no row was timed: python -m eat_lightning.measure run=outputs/<study> baselines=all"
        )
    made = Section("frontier", "Accuracy against time")
    for task, found in tasks.items():
        figures = figures_of(f"frontier-{task}", found)
        made.add(answers(task, found), tables_of(task, found), figures)
    made.add(notes=notes(entries))
    return made


def entries_of(study: Study, task: str) -> list[Entry]:
    """Return static models first, then each model's baselines before its thresholds."""
    entries = [Entry(study, point) for point in study.points(task=task)]
    adaptive = {(e.model, e.point.row.encoder) for e in entries if e.adaptive}

    def rank(entry: Entry) -> tuple[bool, str, int, str, str, bool]:
        row = entry.point.row
        adapts = (entry.model, row.encoder) in adaptive
        return adapts, row.model, row.num_layers, entry.model, row.weights, entry.adaptive

    return sorted(entries, key=rank)


def tables_of(task: str, entries: list[Entry]) -> list[Table]:
    n, batch = (common(entries, name) for name in ("num_examples", "throughput_batch"))
    caption = (
        f"{task}: {n} examples. Bold: significantly better than the baseline (95 % interval). "
        f"Time is from token ids to the answer; batches hold {batch} examples."
    )
    title = f"Accuracy and time on {task}"
    settings = table_of_settings(f"frontier-{task}", title, caption, entries)
    adaptive = [entry for entry in entries if entry.adaptive]
    pairs = col.table(
        f"frontier-{task}-smaller",
        f"Adaptive against static models of smaller backbones on {task}",
        "Accuracy and time of the adaptive setting against the static model's.",
        PAIR_COLUMNS,
        [pair_line(entry, other) for entry in adaptive for other in entry.smaller],
        None,
    )
    return [settings, pairs]


PAIR_COLUMNS = [
    col.word("adaptive", "adaptive"),
    col.word("static", "static"),
    col.points("points", "Δ accuracy", help=f"points; {col.PAIRED}"),
    col.p_value("p", "points", col.MCNEMAR),
    col.number("single", "times as fast, batch 1", help=EXTREMES),
    col.number("batch", "in batches", help=EXTREMES),
]


def pair_line(entry: Entry, other: Mark) -> dict[str, Any]:
    """Compare an adaptive setting with a static model of a smaller backbone."""
    single = 1 in (len(entry.point.members), len(other.members))
    return {
        "adaptive": with_body(entry.name, entry.point),
        "static": static_name(entry.study, other),
        "points": difference(entry.point, other),
        "single": held(entry, other, single_ms),
        "batch": held(entry, other, batch_ms),
        "flags": [cells.ONE_SEED] if single else [],
    }


def static_name(study: Study, point: Mark) -> str:
    return with_body(study.name_of(point.row), point)


def with_body(name: str, point: Mark) -> str:
    return name if point.row.encoder in name else f"{name}, {point.row.encoder}"


def answers(task: str, entries: list[Entry]) -> list[str]:
    """Return for each backbone the fastest adaptive setting within a point of each baseline."""
    timed = [entry for entry in entries if entry.adaptive and entry.point.timed]
    bodies = grouped_by(timed, lambda e: f"{task}, {e.point.row.encoder}, {e.point.row.weights}")
    found = [
        f"{body}: {line}"
        for body, own in bodies.items()
        for line in [*against_baselines(own), *against_smaller(own)]
    ]
    return found or [f"{task}: no adaptive setting was timed."]


def against_baselines(entries: list[Entry]) -> Iterator[str]:
    """Describe the fastest entry near each baseline, with its loss against the other baseline."""
    own, trained = fastest(entries, "to_own"), fastest(entries, "to_trained")
    yield from sentences(entries, own, "to_own")
    if not any(e.to_trained for e in entries):
        yield f"{TRAINED} is missing: train and measure it too."
    elif own is None or own is not trained:
        yield from sentences(entries, trained, "to_trained")


def against_smaller(entries: list[Entry]) -> Iterator[str]:
    """For each static model of a smaller backbone, describe the best of the settings that are
    significantly faster at batch 1. The best one has the highest lower end of its difference.
    """
    study = entries[0].study
    others = {static_name(study, p): p for entry in entries for p in entry.smaller}
    for called, other in others.items():
        quick = []
        for entry in entries:
            times, found = faster(entry.point, other, single_ms), difference(entry.point, other)
            if times and times.low > 1 and found:
                lowest = found.interval.low if found.interval else found.points
                won = f"{entry.name} is {times.text()} times as fast at batch 1, {lost(found)}"
                quick.append((lowest, won))
        if quick:
            _, won = max(quick, key=lambda one: one[0])
            yield f"against the smaller static {called}, {won}."
        else:
            yield f"no setting is significantly faster at batch 1 than the smaller static {called}."


def fastest(entries: list[Entry], to: str) -> Entry | None:
    """Return the fastest setting at batch 1 that loses at most MOST_LOST."""
    near = [e for e in entries if (found := getattr(e, to)) and found.points >= -MOST_LOST]
    return min(near, key=lambda e: e.point.mean("latency_ms") or 0.0, default=None)


def sentences(entries: list[Entry], best: Entry | None, to: str) -> Iterator[str]:
    """Yield sentences on the losses to both baselines, and on the gains."""
    other, baseline = ("to_trained" if to == "to_own" else "to_own"), BASELINES[to]
    if best is not None:
        nearest = f"{best.name} is the fastest within {MOST_LOST:g} point of {baseline}"
        yield f"{nearest}: {lost(getattr(best, to))}."
        if gained := ", ".join(gains(best)):
            yield f"{best.name} is {gained}."
        if beside := lost(getattr(best, other)):
            yield f"{best.name} against {BASELINES[other]}: {beside}."
        if best.gain:
            yield f"{best.name} against fixed depth at equal FLOPs: {lost(best.gain)}."
        return
    measured = [entry for entry in entries if getattr(entry, to)]
    if not measured:
        yield f"{baseline} was not measured."
        return
    near = max(measured, key=lambda e: getattr(e, to).points)
    yield (
        f"no setting is within {MOST_LOST:g} point of {baseline}; the nearest is {near.name}, "
        f"with {lost(getattr(near, to))}."
    )


def lost(found: Difference | None) -> str:
    """ "-0.57 points (-1.95 to +0.80; a loss above 1 is not excluded)" """
    if found is None:
        return ""
    if found.interval is None:
        return f"{found.points:+.2f} points (no interval: examples were not stored)"
    low, high = found.interval.low, found.interval.high
    doubt = f"; a loss above {MOST_LOST:g} is not excluded" if low < -MOST_LOST else ""
    return f"{found.points:+.2f} points ({low:+.2f} to {high:+.2f}{doubt})"


def gains(entry: Entry) -> Iterator[str]:
    """Yield sentences on the speed-ups."""
    point, size = entry.point, entry.point.row.throughput_batch
    if single := speed_up(point):
        yield f"{single.text()} times as fast at batch 1"
    if batch := speed_up(point, "batch_"):
        yield f"{batch.text()} times at batch {size}"


def notes(entries: list[Entry]) -> Iterator[str]:
    """Yield notes for the reader, including missing data."""
    yield (
        "Both baselines of a setting: the same weights without pruning and exits (own static), "
        "and the separately trained static model of that backbone. Speed-ups are computed only "
        "where both were timed in turns in one session."
    )
    rows = [m.row for entry in entries for m in entry.point.members]
    if any(row.form != PLAIN for row in rows):
        yield (
            "Prepacked: matrices are packed once for the processor, with and without exits. "
            "Hugging Face's model runs with plain weights, so its speed-up includes this gain."
        )
    if unsaid := {row.task for row in rows if row.latency_ms is not None and not row.session}:
        yield f"{', '.join(sorted(unsaid))}: rows without a session; measure them again."
    if alone := {e.name for e in entries if e.adaptive and e.trained is None}:
        names = ", ".join(sorted(alone))
        yield f"Without a separately trained static model of their backbone: {names}."
    if not any(row.baseline == THEIRS for row in rows):
        yield "Hugging Face's padded model was not measured (baselines=all measures it)."
