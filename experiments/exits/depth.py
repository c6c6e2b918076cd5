"""Depth against a property of the text: its length, or its difficulty where the data know it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from eat_lightning.report.claim import Figure, Mark
from eat_lightning.report.compare import source_of
from eat_lightning.report.figures import INK, part
from eat_lightning.report.panels import (
    Panels,
    broken,
    examples_text,
    opacity,
    percent,
    seeds_text,
)
from eat_lightning.report.passes import Pass

from .figure import rules_of
from .leaving import Depth, Leaving

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Text

CAPTION = (
    "Mean depth of examples of like {what}, a line for each rule. Vertical: 95 % bootstrap "
    "interval over examples, seeds averaged; {n}."
)
Lines = list[tuple[Leaving, list[Depth]]]


def depth_figure(
    task: str, what: str, found: Sequence[Pass], by: Callable[[Leaving], list[Depth]]
) -> Figure | None:
    """`what`: length or difficulty. None where no examples say it."""
    made = [(each, [(rule, by(rule)) for rule in rules_of(each)]) for each in found]
    shown = [(each, lines) for each, lines in made if any(depths for _, depths in lines)]
    if not shown:
        return None
    panels, name = Panels(len(shown), 2.5), f"depth-{what}"
    xlabel = "tokens, mean of each bin" if what == "length" else what

    def draw(drawing: Any) -> None:
        axes = panels.draw(drawing, xlabel, "layers run, mean", sharey=True)
        names = [draw_depths(ax, name, *each) for ax, each in zip(axes, shown, strict=True)]
        drawing.draw_without_rendering()
        for ax, texts in zip(axes, names, strict=True):
            part(ax, texts)

    marks = [
        mark_of(name, each, rule, i, depth)
        for each, lines in shown
        for rule, depths in lines
        for i, depth in enumerate(depths)
    ]
    caption = CAPTION.format(what=what, n=examples_text([each for each, _ in shown]))
    title = f"Depth against {what} on {task}"
    return Figure(f"{name}-{task}", title, caption, draw, panels.size, marks)


def gid_of(name: str, found: Pass, rule: Leaving, index: int) -> str:
    return f"{name}-{found.slug}-{found.points.index(rule.whole)}-{index}"


def draw_depths(ax: Axes, name: str, found: Pass, lines: Lines) -> list[Text]:
    """Returns the lines' names, which may still overlap."""
    color, texts = found.look.color, []
    for order, (rule, depths) in enumerate(lines):
        alpha = opacity(len(lines) - 1 - order, len(lines))
        ax.plot([d.x for d in depths], [d.depth.value for d in depths], color=color, alpha=alpha)
        for i, each in enumerate(depths):
            ends = [each.depth.low, each.depth.high]
            ax.plot([each.x] * 2, ends, color=color, alpha=0.5 * alpha, linewidth=0.9)
            style: dict[str, Any] = {"markersize": 4, "alpha": alpha, "color": color, "mew": 0}
            (mark,) = ax.plot(each.x, each.depth.value, found.look.marker, **style)
            mark.set_gid(gid_of(name, found, rule, i))
        texts.append(name_line(ax, rule, depths[-1]))
    ax.set_title(found.name)
    ax.margins(x=0.12)
    return texts


def name_line(ax: Axes, rule: Leaving, last: Depth) -> Text:
    text = "  " + broken(rule.point.setting.replace("tau", "τ")).replace("\n", "\n  ")
    where: dict[str, Any] = {"va": "center", "fontsize": 6.5, "color": INK}
    return ax.text(last.x, last.depth.value, text, **where)


def mark_of(name: str, found: Pass, rule: Leaving, index: int, each: Depth) -> Mark:
    details = (
        ("depth", f"{each.depth.value:.2f} ({each.depth.low:.2f} to {each.depth.high:.2f})"),
        ("right", percent(each.accuracy)),
        ("examples", str(each.n)),
        ("seeds", seeds_text(rule.point.seeds)),
    )
    title = f"{found.name}, {rule.point.setting}: {each.name}"
    return Mark(gid_of(name, found, rule, index), title, details, source_of(rule.point))
