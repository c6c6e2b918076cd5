"""What is handed on against the recall that is kept, a line for each exit rule."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from eat_lightning.report.claim import Figure, Mark
from eat_lightning.report.compare import source_of
from eat_lightning.report.figures import INK, MARKERS, SERIES
from eat_lightning.report.panels import Panels, percent
from eat_lightning.report.study import Measured, Point

from .triage import POSITIVE, HandedOn, curve, score_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LEAST = 0.9  # recall from which on the curve is shown
Rule = tuple[str, Measured, Sequence[HandedOn]]  # name, row, and its thresholds from calibration


def triage_figure(task: str, rules: Sequence[Rule], prevalence: float, caption: str) -> Figure:
    panels, name = Panels(1, 3.4), f"triage-{task}"

    def draw(drawing: Any) -> None:
        (ax,) = panels.draw(drawing, "recall kept, %", "handed on to costly analysis, %")
        for order, rule in enumerate(rules):
            draw_rule(ax, name, order, rule)
        ax.axhline(100 * prevalence, color=INK, linewidth=0.7, linestyle=":")
        ax.text(100 * LEAST, 100 * prevalence, " the positives' share", va="top", fontsize=6.5)
        ax.set_xlim(100 * LEAST - 0.3, 100.3)
        ax.legend(loc="upper left")

    marks = [
        mark_of(name, order, number, rule, found)
        for order, rule in enumerate(rules)
        for number, found in enumerate(rule[2])
    ]
    return Figure(name, f"Triage on {task}", caption, draw, (5.6, 3.6), marks)


def draw_rule(ax: Axes, name: str, order: int, rule: Rule) -> None:
    title, measured, found = rule
    assert measured.outcome is not None
    positive_B = measured.outcome.recorded.labels == POSITIVE
    recall, share = curve(score_of(measured), positive_B)
    shown = recall >= LEAST
    color = SERIES[order % len(SERIES)]
    ax.step(100 * recall[shown], 100 * share[shown], where="pre", color=color, label=title)
    for number, each in enumerate(found):
        at = 100 * each.recall.value, 100 * each.all.value
        ends = [100 * max(LEAST, each.recall.low), 100 * each.recall.high]
        ax.plot(ends, [at[1]] * 2, color=color, alpha=0.4, linewidth=0.9)
        (mark,) = ax.plot(*at, MARKERS[order % len(MARKERS)], color=color, mew=0)
        mark.set_gid(f"{name}-{order}-{number}")


def mark_of(name: str, order: int, number: int, rule: Rule, found: HandedOn) -> Mark:
    details = (
        ("recall", percent(found.recall)),
        ("handed on", percent(found.all)),
        ("of the others", percent(found.negatives)),
    )
    return Mark(f"{name}-{order}-{number}", rule[0], details, source_of(Point([rule[1]])))
