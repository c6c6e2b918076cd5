"""Figures of exits: who leaves where under each rule, how right they are, and depth by the text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import mean
from typing import TYPE_CHECKING, Any

from eat_lightning.report.cells import over_seeds, percent_text
from eat_lightning.report.claim import Figure, Mark
from eat_lightning.report.columns import mark
from eat_lightning.report.figures import GRID, INK, MARKERS, MUTED, PAPER, part
from eat_lightning.report.panels import Dot, Panels, broken, draw_line, opacity
from eat_lightning.report.passes import Pass, examples_text, seeds_text
from eat_lightning.report.study import Point

from .leaving import Depth, Group, Leaving, by_difficulty, by_length, leaving

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
DEPTH = (
    "Mean depth of examples of like {what}, a line for each rule. Vertical: 95 % bootstrap "
    "interval over examples, seeds averaged; {n}."
)
BELOW: dict[str, Any] = {"loc": "upper center", "columnspacing": 1, "handletextpad": 0.4}


def figures_of(task: str, found: Sequence[Pass]) -> list[Figure]:
    """The shares; where examples are at hand the others too."""
    made = [
        left_figure(task, found),
        depth_figure(task, "length", found, by_length),
        depth_figure(task, "difficulty", found, by_difficulty),
    ]
    return [shares_figure(task, found), *(figure for figure in made if figure is not None)]


def shares(point: Point, layer: int) -> list[float]:
    """Each seed's, percent."""
    return [100 * m.row.exit_shares.get(str(layer), 0.0) for m in point.members]


def layers_of(found: Pass) -> list[int]:
    """Where some example of some rule left, and the last layer."""
    left = {int(k) for point in found.early for m in point.members for k in m.row.exit_shares}
    return sorted(left | {found.row.num_layers})


def look_of(found: Pass, layer: int) -> dict[str, Any]:
    """A marker for each exit; the first has the strongest colour, the last layer has none."""
    layers = layers_of(found)
    at = layers.index(layer)
    strength = {"color": found.look.color, "alpha": opacity(at, len(layers) - 1)}
    grey = {"color": MUTED}
    return (grey if layer == layers[-1] else strength) | {"marker": MARKERS[at % len(MARKERS)]}


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
    title, caption = f"Where examples of {task} leave", SHARES.format(n=examples_text(found))
    return Figure(f"exit-shares-{task}", title, caption, draw, panels.size, marks)


def share_mark(found: Pass, point: Point, layer: int) -> Mark:
    gid = f"exit-shares-{found.slug}-{found.points.index(point)}-{layer}"
    title = f"{found.name}, {point.setting}: layer {layer} of {found.row.num_layers}"
    share = over_seeds(shares(point, layer), 1).text
    return mark(gid, title, point, {"share": f"{share} %", **of_whom(point)})


def of_whom(point: Point) -> dict[str, str]:
    return {"examples": str(point.row.num_examples), "seeds": seeds_text(point)}


def draw_shares(ax: Axes, found: Pass) -> None:
    layers, left = layers_of(found), [0.0] * len(found.early)
    for layer in layers:
        early = {k: v for k, v in look_of(found, layer).items() if k != "marker"}
        look: dict[str, Any] = {"color": GRID} if layer == layers[-1] else early
        ax.barh(0, 0, label=f"layer {layer}", **look)
        for y, point in enumerate(found.early):
            width = mean(shares(point, layer))
            if width > 0:
                (bar,) = ax.barh(y, width, left=left[y], height=0.72, **look)
                bar.set_gid(share_mark(found, point, layer).gid)
            if width >= 9:  # wide enough for its number
                middle = left[y] + width / 2
                ax.text(middle, y, f"{width:.0f}", ha="center", va="center", fontsize=6.5)
            left[y] += width
    ax.set_yticks(range(len(found.early)), [point.setting for point in found.early])
    ax.invert_yaxis()
    ax.set_xlim(0, 100)
    ax.grid(False)
    ax.tick_params(axis="y", length=0)
    ax.set_title(found.name)
    anchor = (0.5, -0.45 / (0.25 + 0.28 * len(found.early)))
    ax.legend(ncols=len(layers), handlelength=1, bbox_to_anchor=anchor, **BELOW)


def rules_of(found: Pass) -> list[Leaving]:
    """Those whose examples are at hand, and of which some left early."""
    made = [leaving(point) for point in found.early]
    return [each for each in made if each is not None and each.any_early.n]


def left_figure(task: str, found: Sequence[Pass]) -> Figure | None:
    """None where no examples are at hand."""
    shown = [(each, left_dots(each, rules)) for each in found if (rules := rules_of(each))]
    if not shown:
        return None
    panels = Panels(len(shown), 2.8)

    def draw(drawing: Any) -> None:
        axes = panels.draw(drawing, "", f"right on {task} (%)", sharey=True)
        for ax, (each, dots) in zip(axes, shown, strict=True):
            for dot in dots:
                dot.draw(ax)
            names = [broken(rule.point.setting) for rule in rules_of(each)]
            ax.set_xticks(range(len(names)), names)
            ax.grid(False, axis="x")
            ax.set_title(each.name)
            for layer in layers_of(each):
                ax.plot([], [], label=f"layer {layer}", linestyle="", **look_of(each, layer))
            ax.legend(ncols=len(layers_of(each)), bbox_to_anchor=(0.5, -0.2), **BELOW)

    marks = [dot.mark for _, dots in shown for dot in dots if dot.mark.title]
    caption = LEFT.format(n=examples_text(each for each, _ in shown))
    title = f"How right those are that leave early, on {task}"
    return Figure(f"exit-accuracy-{task}", title, caption, draw, panels.size, marks)


def left_dots(found: Pass, rules: Sequence[Leaving]) -> list[Dot]:
    """The answers of each group, and beside them the last layer's on the same examples (whose mark
    has no title: nothing more is read there)."""
    made = []
    for x, rule in enumerate(rules):
        for i, group in enumerate(rule.groups):
            at = x + 0.8 * ((i + 0.4) / len(rule.groups) - 0.5)
            look, read = look_of(found, group.layer or 0), group_mark(found, x, group)
            made.append(Dot(read, at, group.accuracy.times(100), look))
            if not group.stayed:
                beside, hollow = at + 0.28 / len(rule.groups), {"markerfacecolor": PAPER, "mew": 1}
                unread = Mark(f"{read.gid}-last", "", (), read.source)
                made.append(Dot(unread, beside, group.last_accuracy.times(100), look | hollow))
    return made


def group_mark(found: Pass, index: int, group: Group) -> Mark:
    point = group.leaving.point
    skipped = {
        "last layer on the same": group.last_accuracy,
        "wrong where the last is right": group.harm,
        "right where the last is wrong": group.help,
    }
    shares = {"right": group.accuracy} | ({} if group.stayed else skipped)
    details = {what: percent_text(share) for what, share in shares.items()}
    details |= {"examples": f"{group.n:.0f}", "seeds": seeds_text(point)}
    gid = f"exit-accuracy-{found.slug}-{index}-{group.layer}"
    return mark(gid, f"{found.name}, {point.setting}: {group.name}", point, details)


def depth_figure(
    task: str, what: str, found: Sequence[Pass], by: Callable[[Leaving], list[Depth]]
) -> Figure | None:
    """Depth against `what`, length or difficulty. None where no examples say it."""
    made = [(each, [depth_dots(each, what, rule, by) for rule in rules_of(each)]) for each in found]
    shown = [(each, lines) for each, lines in made if any(lines)]
    if not shown:
        return None
    panels = Panels(len(shown), 2.5)

    def draw(drawing: Any) -> None:
        xlabel = "tokens, mean of each bin" if what == "length" else what
        axes = panels.draw(drawing, xlabel, "layers run, mean", sharey=True)
        texts = [draw_depths(ax, *each) for ax, each in zip(axes, shown, strict=True)]
        drawing.draw_without_rendering()
        for ax, names in zip(axes, texts, strict=True):
            part(ax, names)

    marks = [dot.mark for _, lines in shown for line in lines for dot in line]
    caption = DEPTH.format(what=what, n=examples_text(each for each, _ in shown))
    title = f"Depth against {what} on {task}"
    return Figure(f"depth-{what}-{task}", title, caption, draw, panels.size, marks)


def depth_dots(
    found: Pass, what: str, rule: Leaving, by: Callable[[Leaving], list[Depth]]
) -> list[Dot]:
    rules = [each.point.setting for each in rules_of(found)]
    order = rules.index(rule.point.setting)
    alpha = opacity(len(rules) - 1 - order, len(rules))
    look = {"color": found.look.color, "alpha": alpha, "marker": found.look.marker, "markersize": 4}
    dots = []
    for i, each in enumerate(by(rule)):
        details = {
            "depth": each.depth.text(),
            "right": percent_text(each.accuracy),
            "examples": str(each.n),
            "seeds": seeds_text(rule.point),
        }
        gid = f"depth-{what}-{found.slug}-{order}-{i}"
        title = f"{found.name}, {rule.point.setting}: {each.name}"
        dots.append(Dot(mark(gid, title, rule.point, details), each.x, each.depth, look))
    return dots


def draw_depths(ax: Axes, found: Pass, lines: Sequence[Sequence[Dot]]) -> list[Any]:
    """Returns the lines' names, which may still overlap."""
    texts = []
    for rule, line in zip(rules_of(found), lines, strict=True):
        if not line:
            continue
        draw_line(ax, line)
        text = "  " + broken(rule.point.setting.replace("tau", "τ")).replace("\n", "\n  ")
        where: dict[str, Any] = {"va": "center", "fontsize": 6.5, "color": INK}
        texts.append(ax.text(*line[-1].at, text, **where))
    ax.set_title(found.name)
    ax.margins(x=0.12)
    return texts
