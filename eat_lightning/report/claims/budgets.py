"""Gain of choosing a depth per example at given budgets, over fixed depth at equal FLOPs.

    eat report study=experiments/methods/results claims=[budgets]

Needs rows with budgets: python -m eat_lightning.measure run=outputs/... budgets=[0.4,0.5,0.6].
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from eat_lightning.report import columns as col
from eat_lightning.report.budgeted import COLUMNS, NEED, Method, methods_of
from eat_lightning.report.cells import points_text
from eat_lightning.report.difference import accuracy_interval
from eat_lightning.report.figures import INK, PAPER, Figure
from eat_lightning.report.panels import dot, in_panels
from eat_lightning.report.section import Section
from eat_lightning.report.study import Mark, Study
from eat_lightning.report.table import Table
from eat_lightning.runs.row import THEIRS

HOLLOW: dict[str, Any] = {"markerfacecolor": PAPER, "markersize": 4}
MOST = 8  # methods whose fixed depths and names one plane has room for; panels have them all
PERCENT = "accuracy on %s (%%)"
PLACE = 30  # on the page


def claim(study: Study) -> Section:
    """Return a table and a figure for each task with rules fitted for budgets."""
    whole = Section("budgets", "Budgets: gain of choosing a depth per example")
    for task in study.tasks:
        if methods := methods_of(study, task):
            figures = [*time_figure(study, task, methods), figure_of(study, task, methods)]
            whole.add(answers(task, methods), [table_of(task, methods)], figures)
    return whole.or_lacking(NEED)


def table_of(task: str, methods: Sequence[Method]) -> Table:
    caption = (
        "Thresholds were fitted for each budget on the calibration split. Each is compared "
        "with fixed depth: the same weights with all examples leaving at one layer. Bold: "
        "significantly better (95 % interval)."
    )
    lines = [line for method in methods for line in method.lines]
    return col.table(f"budgets-{task}", f"Budgets on {task}", caption, COLUMNS, lines)


def figure_of(study: Study, task: str, methods: Sequence[Method]) -> Figure:
    """Plot accuracy against FLOPs, with a panel per method."""
    static = [p for p in study.points(task=task, baseline="") if p.is_static]
    best = max((percent(p) for p in static), default=None)
    caption = (
        "Filled: rules fitted for budgets, with 95 % intervals over examples; hollow, dotted: "
        "the same weights with all examples leaving at one layer. Horizontal line: the best "
        "separately trained static model."
    )
    name, title = f"budgets-{task}", f"Fitted budgets over fixed depth on {task}"
    labels, draw = (
        ("FLOPs, share of full", f"accuracy on {task} (%)"),
        partial(draw_method, best=best),
    )
    return in_panels(name, title, caption, methods, draw, labels, sharex=True, sharey=True)


def draw_method(ax: Any, method: Method, best: float | None) -> None:
    if best is not None:
        ax.axhline(best, color=INK, linewidth=0.8)
    draw_line(ax, method.fixed, "flops_ratio", "s:", color=method.color, **HOLLOW)
    fitted = [line["point"] for line in method.lines]
    draw_line(ax, fitted, "flops_ratio", "-", color=method.color)
    for line in method.lines:
        x, y = line["point"].mean("flops_ratio") or 0.0, accuracy_interval(line["point"])
        dot(ax, x, y.times(100), color=method.color, marker="o")
    ax.set_title(method.name)


def draw_line(ax: Any, points: Sequence[Mark], cost: str, style: str, **look: Any) -> None:
    xs = [point.mean(cost) or 0.0 for point in points]
    ax.plot(xs, [percent(point) for point in points], style, **look)


def percent(point: Mark) -> float:
    return 100 * (point.mean("accuracy") or 0.0)


def time_figure(study: Study, task: str, methods: Sequence[Method]) -> list[Figure]:
    """Plot accuracy against milliseconds at batch 1 for budgets, fixed depths, separately trained
    static models and Hugging Face's model. Returns no figure without times.
    """
    timed = [p for m in methods for line in m.lines if (p := line["point"]).timed]
    adaptive = {run for point in timed for run in point.runs}
    others = [p for p in study.points(task=task) if p.timed and not adaptive & {*p.runs}]
    theirs = [p for p in others if p.row.baseline == THEIRS]
    static = [p for p in others if p.is_static and p.row.baseline != THEIRS]
    if not timed:
        return []
    crowded = len(methods) > MOST

    def draw(drawing: Any) -> None:
        from matplotlib.ticker import LogLocator

        ax = drawing.subplots()
        for method in methods:
            look, fitted = {"color": method.color}, [line["point"] for line in method.lines]
            draw_line(
                ax, fitted, "latency_ms", "o-", label=f"{method.name}, fitted budgets", **look
            )
            if not crowded:
                draw_line(
                    ax, method.fixed, "latency_ms", "s:", label="fixed depth", **HOLLOW, **look
                )
        for marker, found, label in (
            ("D", static, "static, trained"),
            ("x", theirs, "Hugging Face"),
        ):
            if found:
                draw_line(ax, found, "latency_ms", marker, color=INK, linestyle="", label=label)
            for point in found:
                at = point.mean("latency_ms"), percent(point)
                layers = f"{point.row.num_layers}"
                ax.annotate(layers, at, (5, 3), textcoords="offset points", fontsize=7)
        ax.set(xscale="log", xlabel="ms at batch 1", ylabel=PERCENT % task)
        ax.xaxis.set_major_formatter("{x:g}")
        ax.xaxis.set_minor_locator(LogLocator(subs=(2, 3, 5)))
        ax.xaxis.set_minor_formatter("{x:g}")
        if not crowded:
            ax.legend(frameon=False, fontsize=7)

    caption = "All points were timed in turns in one session; numbers are layers of static models."
    title = f"Accuracy against time on {task}"
    return [Figure(f"budgets-{task}-time", title, caption, draw, (4.8, 3.4))]


def answers(task: str, methods: Sequence[Method]) -> Iterator[str]:
    """Yield for each budget the method with the largest gain over its own fixed depths."""
    known = [line for method in methods for line in method.lines if line["gain"]]
    for setting in dict.fromkeys(line["setting"] for line in known):
        same = [line for line in known if line["setting"] == setting]
        best = max(same, key=lambda line: line["gain"].points)
        flops = best["point"].mean("flops_ratio") or 0.0
        who = f"{best['model']} gains"
        if len(same) > 1:
            who = f"of {len(same)} methods {who} most on these examples:"
        beside = [f"{points_text(best['gain'])} points over fixed depth"]
        if best["mix_gain"]:
            beside.append(f"{points_text(best['mix_gain'])} over the best mix of two depths")
        yield (
            f"{task}, {setting}: {who} {' and '.join(beside)}. Its accuracy is "
            f"{percent(best['point']):.2f} % at {flops:.3f} of the FLOPs."
        )
