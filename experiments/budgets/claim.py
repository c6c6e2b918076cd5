"""What choosing a depth for each example gains at stated budgets, over fixed depth at equal FLOPs.

    python -m experiments budgets study=experiments/methods/results

Needs rows with budgets: python -m eat_lightning.measure run=outputs/... budgets=[0.4,0.5,0.6].
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from eat_lightning.report.cells import points_text
from eat_lightning.report.claim import Claim, Figure, Table
from eat_lightning.report.columns import (
    accuracy,
    field,
    interval,
    points,
    read_at,
    spread,
    table,
    values,
    word,
)
from eat_lightning.report.compare import Difference, Entry, accuracy_interval, speed_up
from eat_lightning.report.figures import INK, PAPER, looks_of
from eat_lightning.report.panels import Dot, Panels, draw_line
from eat_lightning.report.setting_table import GAIN, PAIRED, REPEATS, TRAINED
from eat_lightning.report.statistics import Interval
from eat_lightning.report.study import Point, Study
from eat_lightning.runs.row import THEIRS

NEED = "no row here was fitted for a budget: python -m eat_lightning.measure run=... budgets=[0.5]"


@dataclass
class Method:
    """What was trained, by its budgets; the same weights at fixed depths and with nobody leaving
    early."""

    name: str
    color: str
    fitted: list[Entry]
    fixed: list[Entry]

    @property
    def deepest(self) -> Point | None:
        return self.fixed[-1].point if self.fixed else None


@dataclass
class Fitted:
    """A method at one budget."""

    method: Method
    entry: Entry

    @property
    def point(self) -> Point:
        return self.entry.point

    @property
    def full_depth(self) -> list[float]:
        """Accuracy of the same weights with nobody leaving early, percent, of each seed."""
        full = self.method.deepest
        return [100 * value for value in full.values("accuracy")] if full else []

    @cached_property
    def single(self) -> Interval | None:
        return speed_up(self.point)

    @cached_property
    def batch(self) -> Interval | None:
        return speed_up(self.point, "batch_")


OWN = "times as fast as own static"
COLUMNS = [
    word("model", "trained with", "method.name"),
    word("setting", "budget", "point.setting", "share of full FLOPs it was fitted for"),
    values("seed", "seeds", key="seeds"),
    spread("full", "full depth", "full_depth", "accuracy with nobody leaving early, percent"),
    accuracy(),
    field("flops_ratio", "FLOPs", 3, "counted, / those of own static"),
    field("depth", "depth", 2, "layers run, mean over examples"),
    field("retention", "retention", 3, "tokens entering the last executed layer / at first"),
    points("gain", "Δ fixed depth", "entry.gain", GAIN),
    points("to_trained", "Δ trained static", "entry.to_trained", f"points {TRAINED}; {PAIRED}"),
    interval("single", "batch 1", "single", f"{OWN}; {REPEATS}", against=1),
    interval("batch", "batches", "batch", f"{OWN}, as they come; {REPEATS}", against=1),
    *map(values, ("num_examples", "split", "weights", "steps", "commit")),
]


def claim(study: Study) -> Claim:
    """A table and a figure for each task whose rules were fitted for budgets."""
    whole = Claim("budgets", "Budgets: what choosing for each example gains")
    for task in study.tasks:
        if methods := methods_of(study, task):
            figures = [*time_figure(study, task, methods), figure_of(study, task, methods)]
            whole.add(answers(task, methods), [table_of(task, methods)], figures)
    return whole.or_lacking(NEED)


def methods_of(study: Study, task: str) -> list[Method]:
    entries, looks = [Entry(study, point) for point in study.points(task=task)], looks_of(study)
    found = []
    for name in dict.fromkeys(e.model for e in entries if e.point.row.budget is not None):
        own = [e for e in entries if e.model == name]
        fitted = [e for e in own if e.point.row.budget is not None]
        fixed = sorted((e for e in own if e.fixed), key=lambda e: e.point.row.depth)
        fitted.sort(key=lambda e: e.point.row.budget or 0.0)
        found.append(Method(name, looks[name].color, fitted, fixed))
    return found


def fitted_of(methods: Sequence[Method]) -> list[Fitted]:
    return [Fitted(method, entry) for method in methods for entry in method.fitted]


def table_of(task: str, methods: Sequence[Method]) -> Table:
    caption = (
        "Thresholds were fitted for each budget on the calibration cut. Beside each stands fixed "
        "depth: the same weights with everybody leaving at one layer. Bold: better by its 95 % "
        "interval."
    )
    return table(f"budgets-{task}", f"Budgets on {task}", caption, COLUMNS, fitted_of(methods))


def figure_of(study: Study, task: str, methods: Sequence[Method]) -> Figure:
    """Accuracy against FLOPs, a panel for each method."""
    name, panels = f"budgets-{task}", Panels(len(methods), 2.5)
    dots = [dots_of(f"{name}-{i}", method) for i, method in enumerate(methods)]
    static = [p for p in study.points(task=task, baseline="") if p.is_static]
    best = max((100 * (p.mean("accuracy") or 0.0) for p in static), default=None)

    def draw(drawing: Any) -> None:
        labels = "FLOPs, share of full", f"accuracy on {task} (%)"
        axes = panels.draw(drawing, *labels, sharex=True, sharey=True)
        for ax, method, own in zip(axes, methods, dots, strict=True):
            if best is not None:
                ax.axhline(best, color=INK, linewidth=0.8)
            draw_fixed(ax, method)
            draw_line(ax, own)
            ax.set_title(method.name)

    caption = (
        "Filled: rules fitted for budgets, with 95 % intervals over examples; hollow, dotted: the "
        "same weights with everybody leaving at one layer. Line across: the best static model that "
        "was trained for itself."
    )
    marks = [dot.mark for own in dots for dot in own]
    title = f"Fitted budgets over fixed depth on {task}"
    return Figure(name, title, caption, draw, panels.size, marks)


def time_figure(study: Study, task: str, methods: Sequence[Method]) -> list[Figure]:
    """Accuracy against milliseconds at batch 1, as a user weighs them: budgets, fixed depths, the
    static models that were trained for themselves, and Hugging Face's. None without times."""
    timed = [entry for method in methods for entry in method.fitted if entry.point.timed]
    adaptive = {run for entry in timed for run in entry.point.runs}
    others = [p for p in study.points(task=task) if p.timed and not adaptive & {*p.runs}]
    static = [p for p in others if p.is_static or p.row.baseline == THEIRS]
    if not timed:
        return []

    def draw(drawing: Any) -> None:
        ax = drawing.subplots()
        for method in methods:
            label = f"{method.name}, fitted budgets"
            ax.plot(
                *over_time([e.point for e in method.fitted]), "o-", color=method.color, label=label
            )
            look = {"color": method.color, "markerfacecolor": PAPER, "markersize": 4}
            ax.plot(*over_time([e.point for e in method.fixed]), "s:", label="fixed depth", **look)
        for marker, theirs, label in (("D", False, "static, trained"), ("x", True, "Hugging Face")):
            found = [p for p in static if (p.row.baseline == THEIRS) == theirs]
            if not found:
                continue
            ax.plot(*over_time(found), marker, color=INK, linestyle="", label=label)
            for point, x, y in zip(found, *over_time(found), strict=True):
                ax.annotate(f" {point.row.num_layers}", (x, y), fontsize=7)
        ax.set(xscale="log", xlabel="ms at batch 1", ylabel=f"accuracy on {task} (%)")
        for axis in (ax.xaxis.set_major_formatter, ax.xaxis.set_minor_formatter):
            axis(lambda value, _: f"{value:g}")
        ax.legend(frameon=False, fontsize=7)

    caption = "Every point by turns in one session; numbers are layers of static models."
    title = f"Accuracy against time on {task}"
    return [Figure(f"budgets-{task}-time", title, caption, draw, (4.8, 3.4))]


def over_time(points: Sequence[Point]) -> tuple[list[float], list[float]]:
    """Milliseconds and percent."""
    times = [point.mean("latency_ms") or 0.0 for point in points]
    return times, [100 * (point.mean("accuracy") or 0.0) for point in points]


def draw_fixed(ax: Any, method: Method) -> None:
    x = [entry.point.mean("flops_ratio") for entry in method.fixed]
    y = [100 * (entry.point.mean("accuracy") or 0.0) for entry in method.fixed]
    look = {"color": method.color, "markerfacecolor": PAPER, "markersize": 4}
    ax.plot(x, y, "s:", **look)


READ = ("accuracy", "gain", "to_trained", "flops_ratio", "depth", "retention", "seeds")


def dots_of(gid: str, method: Method) -> list[Dot]:
    made = []
    for i, entry in enumerate(method.fitted):
        item, title = Fitted(method, entry), f"{method.name}, {entry.point.setting}"
        read = read_at(f"{gid}-{i}", title, item, COLUMNS, READ)
        x, y = entry.point.mean("flops_ratio") or 0.0, accuracy_interval(entry.point).times(100)
        made.append(Dot(read, x, y, {"color": method.color, "marker": "o"}))
    return made


def answers(task: str, methods: Sequence[Method]) -> Iterator[str]:
    """For each budget the method that gains most over its own fixed depths."""
    budgets: dict[str, list[tuple[Difference, Fitted]]] = {}
    for fitted in fitted_of(methods):
        if gain := fitted.entry.gain:
            budgets.setdefault(fitted.point.setting, []).append((gain, fitted))
    for setting, known in budgets.items():
        gain, best = max(known, key=lambda pair: pair[0].points)
        right, flops = (best.point.mean(name) or 0.0 for name in ("accuracy", "flops_ratio"))
        yield (
            f"{task}, {setting}: the largest gain over fixed depth is that of {best.method.name}, "
            f"{points_text(gain)} points, right on {100 * right:.2f} % at {flops:.3f} of the FLOPs."
        )
