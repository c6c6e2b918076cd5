"""What is handed on against the recall that is kept, a line for each exit rule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from eat_lightning.report.cells import percent_text
from eat_lightning.report.claim import Figure
from eat_lightning.report.columns import mark
from eat_lightning.report.figures import INK, MARKERS, SERIES
from eat_lightning.report.panels import Dot, Panels
from eat_lightning.report.study import Measured, Point

from .triage import POSITIVE, HandedOn, curve, score_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LEAST = 0.9  # recall from which on the curve is shown
Rule = tuple[str, Measured, Sequence[HandedOn]]  # name, row, and its thresholds from calibration


def triage_figure(task: str, rules: Sequence[Rule], prevalence: float, caption: str) -> Figure:
    panels, name = Panels(1, 3.4), f"triage-{task}"
    dots = [dots_of(f"{name}-{order}", order, rule) for order, rule in enumerate(rules)]

    def draw(drawing: Any) -> None:
        (ax,) = panels.draw(drawing, "recall kept, %", "handed on to costly analysis, %")
        for order, rule in enumerate(rules):
            draw_curve(ax, rule, SERIES[order % len(SERIES)])
            for dot in dots[order]:
                dot.draw(ax)
        ax.axhline(100 * prevalence, color=INK, linewidth=0.7, linestyle=":")
        ax.text(100 * LEAST, 100 * prevalence, " the positives' share", va="top", fontsize=6.5)
        ax.set_xlim(100 * LEAST - 0.3, 100.3)
        ax.legend(loc="upper left")

    marks = [dot.mark for own in dots for dot in own]
    return Figure(name, f"Triage on {task}", caption, draw, (5.6, 3.6), marks)


def draw_curve(ax: Axes, rule: Rule, color: str) -> None:
    title, measured, _ = rule
    recall, share = curve(score_of(measured), measured.known.recorded.labels == POSITIVE)
    shown = recall >= LEAST
    ax.step(100 * recall[shown], 100 * share[shown], where="pre", color=color, label=title)


def dots_of(gid: str, order: int, rule: Rule) -> list[Dot]:
    title, measured, found = rule
    look = {"color": SERIES[order % len(SERIES)], "marker": MARKERS[order % len(MARKERS)]}
    made = []
    for number, each in enumerate(found):
        details = {
            "recall": percent_text(each.recall),
            "handed on": percent_text(each.all),
            "of the others": percent_text(each.negatives),
        }
        read = mark(f"{gid}-{number}", title, Point([measured]), details)
        recall = replace(each.recall, low=max(LEAST, each.recall.low)).times(100)
        made.append(Dot(read, recall, 100 * each.all.value, look | {"markersize": 6}))
    return made
