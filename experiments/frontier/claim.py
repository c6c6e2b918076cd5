"""Accuracy against time for every model, baseline and tau of a task (EAT, figure 4, tables 1 to 3).

    python -m experiments.frontier.claim study=outputs/frontier

Without arguments: the rows of our own runs, beside this file. Measure all runs of a task in one
call with `baselines=all`: only times of one session are divided by each other.
"""

from __future__ import annotations

from eat_lightning.errors import ConfigError
from eat_lightning.infer.precision import PLAIN
from eat_lightning.measure.settings import THEIRS
from eat_lightning.report import cells
from eat_lightning.report.claim import Claim, Column, Line, Source, Table
from eat_lightning.report.compare import (
    Difference,
    Entry,
    batch_ms,
    difference,
    faster,
    single_ms,
    source_of,
    speed_up,
)
from eat_lightning.report.setting_plot import figures_of
from eat_lightning.report.setting_table import (
    EXTREMES,
    MCNEMAR,
    ONE_SEED,
    PAIRED,
    common,
    held,
    table_of_settings,
)
from eat_lightning.report.study import Point, Study

TRAINED = "the static model that was trained for itself"
BASELINES = {"to_own": "its own static", "to_trained": TRAINED}
MOST_LOST = 1.0  # points below a baseline that a setting may be, to be called as good


def claim(study: Study) -> Claim:
    """Tables and figures for each task, and what is fastest within a point of its baselines."""
    tasks = {task: entries_of(study, task) for task in study.tasks}
    entries = [entry for found in tasks.values() for entry in found]
    if not any(entry.point.timed for entry in entries):
        raise ConfigError(
            "no row was timed: python -m eat_lightning.measure run=outputs/<study> baselines=all"
        )
    return Claim(
        "frontier",
        "Accuracy against time",
        [line for task, found in tasks.items() for line in answers(task, found)],
        [table for task, found in tasks.items() for table in tables_of(task, found)],
        [
            figure
            for task, found in tasks.items()
            for figure in figures_of(f"frontier-{task}", found)
        ],
        notes(entries),
    )


def entries_of(study: Study, task: str) -> list[Entry]:
    """Models that are static throughout first, then each model's baselines before its taus."""
    entries = [Entry(study, point) for point in study.points(task=task)]
    adaptive = {(e.point.row.model, e.point.row.encoder) for e in entries if e.adaptive}

    def rank(entry: Entry) -> tuple[bool, str, str, str, bool]:
        row = entry.point.row
        model = row.model, row.encoder
        return model in adaptive, *model, row.weights, entry.adaptive

    return sorted(entries, key=rank)


def tables_of(task: str, entries: list[Entry]) -> list[Table]:
    n, batch = (common(entries, name) for name in ("num_examples", "throughput_batch"))
    caption = (
        f"{task}: {n} examples. Bold: better than what it is held against by its 95 % interval. "
        f"Time is from token ids to the answer; batches hold {batch} examples."
    )
    title = f"Accuracy and time on {task}"
    settings = table_of_settings(f"frontier-{task}", title, caption, entries)
    return [settings, *pairs_table(task, entries)]


def pairs_table(task: str, entries: list[Entry]) -> list[Table]:
    """Each adaptive setting against the static models of smaller bodies, which it has to beat."""
    adaptive = [entry for entry in entries if entry.adaptive]
    lines = [pair_line(entry, other) for entry in adaptive for other in entry.smaller]
    columns = [
        Column("adaptive", "adaptive", numeric=False),
        Column("static", "static", numeric=False),
        Column("points", "Δ accuracy", f"points; {PAIRED}"),
        Column("p", "p", MCNEMAR),
        Column("single", "times as fast, batch 1", EXTREMES),
        Column("batch", "in batches", f"as they come; {EXTREMES}"),
    ]
    title = f"Adaptive against static models of smaller bodies on {task}"
    caption = "Accuracy and time of the adaptive setting against the static model's."
    return [Table(f"frontier-{task}-smaller", title, caption, columns, lines)] if lines else []


def pair_line(entry: Entry, other: Point) -> Line:
    found, point = difference(entry.point, other), entry.point
    made = {
        "adaptive": cells.words(f"{point.row.model} {point.setting}, {point.row.encoder}"),
        "static": cells.words(f"{other.row.model}, {other.row.encoder}"),
        "points": cells.points(found),
        "p": cells.p_value(found),
        "single": held(entry, other, single_ms),
        "batch": held(entry, other, batch_ms),
    }
    one, two = source_of(point), source_of(other)
    commits = tuple(dict.fromkeys((*one.commits, *two.commits)))
    flags = (ONE_SEED,) if 1 in (len(point.members), len(other.members)) else ()
    return Line(made, Source((*one.runs, *two.runs), one.command, commits), flags)


def answers(task: str, entries: list[Entry]) -> list[str]:
    """For each body the fastest adaptive setting within a point of each baseline."""
    adaptive = [entry for entry in entries if entry.adaptive and entry.point.timed]
    bodies: dict[str, list[Entry]] = {}
    for entry in adaptive:
        row = entry.point.row
        bodies.setdefault(f"{task}, {row.encoder}, {row.weights}", []).append(entry)
    found = [
        f"{body}: {line}"
        for body, own in bodies.items()
        for line in [*answer(own), *against_smaller(own)]
    ]
    return found or [f"{task}: no adaptive setting was timed."]


def answer(entries: list[Entry]) -> list[str]:
    """What is fastest near each baseline; beside it what it loses to the other one, too."""
    own, trained = fastest(entries, "to_own"), fastest(entries, "to_trained")
    if not any(e.to_trained for e in entries):
        missing = f"{TRAINED} is missing: train and measure it beside."
        return [sentence(entries, own, "to_own"), missing]
    lines = [sentence(entries, own, "to_own")]
    return (
        lines
        if own is not None and own is trained
        else [*lines, sentence(entries, trained, "to_trained")]
    )


def against_smaller(entries: list[Entry]) -> list[str]:
    """For each static model of a smaller body: of the settings that are surely faster at batch 1
    the one that is best by the lower end of its difference."""
    others = {p.row.encoder + p.row.model: p for entry in entries for p in entry.smaller}
    lines = []
    for other in others.values():
        name = f"the smaller static {other.row.model}, {other.row.encoder}"
        pairs = [
            (e, faster(e.point, other, single_ms), difference(e.point, other)) for e in entries
        ]
        quick = [(e, times, d) for e, times, d in pairs if times and times.low > 1 and d]
        if not quick:
            lines.append(f"no setting was shown to be faster at batch 1 than {name}.")
            continue
        entry, times, best = max(quick, key=lambda pair: lowest(pair[2]))
        told = f"{cells.times_text(times)} times as fast at batch 1, {lost(best)}"
        lines.append(f"against {name}, {entry.point.name} is {told}.")
    return lines


def lowest(found: Difference) -> float:
    return found.points if found.interval is None else found.interval.low


def fastest(entries: list[Entry], to: str) -> Entry | None:
    """Of those that lose no more than MOST_LOST, by time at batch 1."""
    near = [e for e in entries if (found := getattr(e, to)) and found.points >= -MOST_LOST]
    return min(near, key=lambda e: e.point.mean("latency_ms") or 0.0, default=None)


def sentence(entries: list[Entry], best: Entry | None, to: str) -> str:
    """What was lost, to both baselines, and what was won, on how many examples and seeds."""
    other, baseline = ("to_trained" if to == "to_own" else "to_own"), BASELINES[to]
    if best is not None:
        head = f"{best.point.name} is the fastest within {MOST_LOST:g} point of {baseline}"
        parts = [lost(getattr(best, to)), *gains(best), *of_how_many(best.point)]
        beside = lost(getattr(best, other))
        more = f" Against {BASELINES[other]}: {beside}." if beside else ""
        more += f" Against fixed depth at equal FLOPs: {lost(best.gain)}." if best.gain else ""
        return f"{head}: {', '.join(parts)}.{more}"
    measured = [entry for entry in entries if getattr(entry, to)]
    if not measured:
        return f"{baseline} was not measured."
    nearest = max(measured, key=lambda e: getattr(e, to).points)
    return (
        f"no setting is within {MOST_LOST:g} point of {baseline}; the nearest, "
        f"{nearest.point.name}, is {lost(getattr(nearest, to))} from it."
    )


def lost(found: Difference | None) -> str:
    """ "-0.57 points (-1.95 to +0.80; a loss above 1 is not excluded)" """
    if found is None:
        return ""
    if found.interval is None:
        return f"{found.points:+.2f} points (no interval: examples were not kept)"
    low, high = found.interval.low, found.interval.high
    doubt = f"; a loss above {MOST_LOST:g} is not excluded" if low < -MOST_LOST else ""
    return f"{found.points:+.2f} points ({low:+.2f} to {high:+.2f}{doubt})"


def gains(entry: Entry) -> list[str]:
    single, batch = (speed_up(entry.point, prefix) for prefix in ("", "batch_"))
    point, size = entry.point, entry.point.row.throughput_batch
    found = [f"{cells.times_text(single)} times as fast at batch 1"] if single else []
    found += [f"{cells.times_text(batch)} at batch {size}"] if batch else []
    found.append(f"depth {point.mean('depth'):.2f} of {point.row.num_layers}")
    return [*found, f"retention {point.mean('retention'):.3f}"]


def of_how_many(point: Point) -> list[str]:
    seeds = len(point.members)
    return [f"{point.row.num_examples} examples", f"{seeds} seed{'s' if seeds > 1 else ''}"]


def notes(entries: list[Entry]) -> list[str]:
    """What a reader must know, and what could not be said."""
    found = [
        "Both baselines of a setting: the same weights with everything off (own static), and the "
        "static model of that body that was trained for itself. Times are divided only where both "
        "took turns in one session."
    ]
    rows = [m.row for entry in entries for m in entry.point.members]
    if any(row.form != PLAIN for row in rows):
        found.append(
            "Prepacked: matrices arranged for the processor once, with exits and without alike; "
            "Hugging Face's model runs as people call it, so what it is behind holds that too."
        )
    unsaid = {row.task for row in rows if row.latency_ms is not None and not row.session}
    if unsaid:
        found.append(f"{', '.join(sorted(unsaid))}: rows without a session; measure them again.")
    alone = {e.point.name for e in entries if e.adaptive and e.trained is None}
    if alone:
        found.append(f"Without a static model of their body that was trained: {listed(alone)}.")
    if not any(row.baseline == THEIRS for row in rows):
        found.append("Hugging Face's padded model was not measured (baselines=all measures it).")
    return found


def listed(names: set[str]) -> str:
    return ", ".join(sorted(names))


if __name__ == "__main__":
    from eat_lightning.report.__main__ import show_claim

    show_claim(__file__)
