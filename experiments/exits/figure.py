"""Figures of exits: who leaves where under each rule, and how right they are."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean, stdev
from typing import TYPE_CHECKING, Any

from eat_lightning.report.claim import Figure, Mark
from eat_lightning.report.compare import source_of
from eat_lightning.report.figures import GRID, MARKERS, MUTED, PAPER
from eat_lightning.report.panels import (
    Panels,
    broken,
    examples_text,
    opacity,
    percent,
    seeds_text,
)
from eat_lightning.report.passes import Pass
from eat_lightning.report.statistics import Interval
from eat_lightning.report.study import Point

from .leaving import Group, Leaving, leaving

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SHARES = (
    "Share of the examples that leave at each exit, for each rule; the pale rest runs all layers. "
    "{n}, mean over seeds."
)
LEFT = (
    "Filled: how many of those that left at an exit are answered right; hollow, beside it: the "
    "last layer's guess on the same examples; grey: those that ran all layers. 95 % Wilson "
    "intervals; {n}, over seeds as of one seed's number."
)
BELOW: dict[str, Any] = {"loc": "upper center", "columnspacing": 1, "handletextpad": 0.4}


def layers_of(found: Pass) -> list[int]:
    """Where some example of some rule left, and the last layer."""
    left = {int(k) for point in found.early for m in point.members for k in m.row.exit_shares}
    return sorted(left | {found.row.num_layers})


def shares(point: Point, layer: int) -> list[float]:
    """Of each seed."""
    return [m.row.exit_shares.get(str(layer), 0.0) for m in point.members]


def look_of(found: Pass, layer: int) -> dict[str, Any]:
    """The first exit is the strongest, the last layer has no colour."""
    layers = layers_of(found)[:-1]
    if layer not in layers:
        return {"color": MUTED}
    return {"color": found.look.color, "alpha": opacity(layers.index(layer), len(layers))}


def gid_of(kind: str, found: Pass, point: Point, layer: int) -> str:
    return f"{kind}-{found.slug}-{found.points.index(point)}-{layer}"


def shares_figure(task: str, found: Sequence[Pass]) -> Figure:
    """Stacked bars, from rows alone."""
    panels = Panels(len(found), 0.9 + 0.28 * max(len(each.early) for each in found))

    def draw(drawing: Any) -> None:
        for ax, each in zip(panels.draw(drawing, "examples (%)"), found, strict=True):
            draw_shares(ax, each)

    marks = [
        share_mark(each, point, layer)
        for each in found
        for point in each.early
        for layer in layers_of(each)
        if any(shares(point, layer))
    ]
    caption = SHARES.format(n=examples_text(found))
    name = f"exit-shares-{task}"
    return Figure(name, f"Where examples of {task} leave", caption, draw, panels.size, marks)


def share_mark(found: Pass, point: Point, layer: int) -> Mark:
    values = shares(point, layer)
    spread = f" ± {100 * stdev(values):.1f}" if len(values) > 1 else ""
    details = (
        ("share", f"{100 * mean(values):.1f}{spread} %"),
        ("examples", str(point.row.num_examples)),
        ("seeds", seeds_text(point.seeds)),
    )
    gid = gid_of("exit-shares", found, point, layer)
    title = f"{found.name}, {point.setting}: layer {layer} of {found.row.num_layers}"
    return Mark(gid, title, details, source_of(point))


def draw_shares(ax: Axes, found: Pass) -> None:
    layers = layers_of(found)
    for layer in layers:
        last: dict[str, Any] = {"color": GRID}
        look = last if layer == layers[-1] else look_of(found, layer)
        ax.barh(0, 0, label=f"layer {layer}", **look)
        for y, point in enumerate(found.early):
            left = 100 * sum(mean(shares(point, k)) for k in layers if k < layer)
            width = 100 * mean(shares(point, layer))
            if width > 0:
                (bar,) = ax.barh(y, width, left=left, height=0.72, **look)
                bar.set_gid(gid_of("exit-shares", found, point, layer))
            if width >= 9:
                middle = left + width / 2
                ax.text(middle, y, f"{width:.0f}", ha="center", va="center", fontsize=6.5)
    ax.set_yticks(range(len(found.early)), [point.setting for point in found.early])
    ax.invert_yaxis()
    ax.set_xlim(0, 100)
    ax.grid(False)
    ax.tick_params(axis="y", length=0)
    ax.set_title(found.name)
    anchor = (0.5, -0.45 / (0.25 + 0.28 * len(found.early)))
    ax.legend(ncols=len(layers), handlelength=1, bbox_to_anchor=anchor, **BELOW)


def left_figure(task: str, found: Sequence[Pass]) -> Figure | None:
    """None where no examples are at hand."""
    shown = [(each, made) for each in found if (made := rules_of(each))]
    if not shown:
        return None
    panels = Panels(len(shown), 2.8)

    def draw(drawing: Any) -> None:
        axes = panels.draw(drawing, "", f"right on {task} (%)", sharey=True)
        for ax, each in zip(axes, shown, strict=True):
            draw_left(ax, *each)

    marks = [
        group_mark(each, group) for each, made in shown for rule in made for group in rule.groups
    ]
    caption = LEFT.format(n=examples_text([each for each, _ in shown]))
    title = f"How right those are that leave early, on {task}"
    return Figure(f"exit-accuracy-{task}", title, caption, draw, panels.size, marks)


def rules_of(found: Pass) -> list[Leaving]:
    """Those whose examples are at hand, and of which some left early."""
    made = [leaving(point) for point in found.early]
    return [each for each in made if each is not None and each.layers]


def draw_left(ax: Axes, found: Pass, rules: Sequence[Leaving]) -> None:
    for x, rule in enumerate(rules):
        for i, group in enumerate(rule.groups):
            at = x + 0.8 * ((i + 0.4) / len(rule.groups) - 0.5)
            look = dot_of(found, group.layer or 0)
            if not group.stayed:
                beside = at + 0.28 / len(rule.groups)
                dot(ax, beside, group.last_accuracy, look | {"markerfacecolor": PAPER, "mew": 1})
            mark = dot(ax, at, group.accuracy, look)
            mark.set_gid(gid_of("exit-accuracy", found, rule.whole, group.layer or 0))
    ax.set_xticks(range(len(rules)), [broken(rule.point.setting) for rule in rules])
    ax.grid(False, axis="x")
    ax.set_title(found.name)
    for layer in layers_of(found):
        ax.plot([], [], label=f"layer {layer}", **dot_of(found, layer))
    ax.legend(ncols=len(layers_of(found)), bbox_to_anchor=(0.5, -0.2), **BELOW)


def dot_of(found: Pass, layer: int) -> dict[str, Any]:
    """A marker for each exit."""
    marker = MARKERS[layers_of(found).index(layer) % len(MARKERS)]
    plain = {"marker": marker, "linestyle": "", "markersize": 4.5, "mew": 0}
    return look_of(found, layer) | plain


def dot(ax: Axes, x: float, found: Interval, look: dict[str, Any]) -> Any:
    y, alpha = found.times(100), look.get("alpha", 1.0)
    ax.plot([x, x], [y.low, y.high], color=look["color"], alpha=0.5 * alpha, linewidth=0.9)
    return ax.plot(x, y.value, zorder=3, **look)[0]


def group_mark(found: Pass, group: Group) -> Mark:
    rule = group.leaving
    details = (
        ("right", percent(group.accuracy)),
        ("last layer on the same", percent(group.last_accuracy)),
        ("wrong where the last is right", percent(group.harm)),
        ("right where the last is wrong", percent(group.help)),
        ("examples", f"{group.n:.0f}"),
        ("seeds", seeds_text(rule.point.seeds)),
    )
    told = details[:1] + details[4:] if group.stayed else details
    gid = gid_of("exit-accuracy", found, rule.whole, group.layer or 0)
    return Mark(
        gid, f"{found.name}, {rule.point.setting}: {group.name}", told, source_of(rule.point)
    )
