"""Retention as figures: over training, and against the length of the input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from eat_lightning.report.claim import Figure, Mark
from eat_lightning.report.columns import mark
from eat_lightning.report.figures import INK, MARKERS, MUTED, PAPER, SERIES
from eat_lightning.report.panels import Dot, Panels, draw_line, handles
from eat_lightning.report.statistics import Interval
from eat_lightning.report.study import Point

from .kept import PARTS, WINDOW, Kept, Rule, Training, named, within
from .pruning import scheduled, staircase, with_cls

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEIGHT, WIDTH = 2.7, 2.4  # inches of a panel
SHARED = {"sharex": True, "sharey": True}
TRAINING = (
    "Dashed: the schedule's product of 1 - ratio x strength. Solid: what training batches kept (a "
    f"mean over {WINDOW} logged batches; faint: each of them). Squares: the split that selects "
    "checkpoints, nobody leaving. Dotted: the strength that the schedule applies."
)
LENGTH = (
    "Left: each mark is a length, its area the number of examples; the thin line is algorithm 1's "
    "count, which lies above the schedule (dashed), since [CLS] is exempt (dotted) and ceil() "
    "rounds up. Others: with exits, means of {parts} groups of lengths with their 95 % intervals "
    "(bootstrap over examples), between the counts after the first pruning layers, where early "
    "leavers are, and after all."
)


# Over training


def training_figure(task: str, trained: Sequence[Training]) -> Figure:
    name, panels = f"retention-{task}-training", Panels(len(trained), HEIGHT, WIDTH)

    def draw(drawing: Any) -> None:
        axes = panels.draw(drawing, "", "share of the tokens", **SHARED)
        for i, (ax, training) in enumerate(zip(axes, trained, strict=True)):
            draw_training(ax, training, f"{name}-{i}")
        drawing.legend(*handles(LOOKS), loc="outside upper left", ncols=4, handlelength=2.2)

    marks = [m for i, t in enumerate(trained) for m in training_marks(t, f"{name}-{i}")]
    title = f"Scheduled and observed retention on {task}"
    return Figure(name, title, TRAINING, draw, panels.size, marks)


LOOKS: dict[str, dict[str, Any]] = {
    "scheduled": {"linestyle": "--", "color": INK},
    "observed in training": {"linestyle": "-", "color": MUTED},
    "observed on the selection split": {
        "linestyle": "",
        "marker": "s",
        "color": MUTED,
        "markerfacecolor": PAPER,
    },
    "strength": {"linestyle": ":", "color": MUTED},
}


def draw_training(ax: Axes, training: Training, gid: str) -> None:
    color = training.kept.found.look.color
    strength, goal, seen, select = training.strength, training.goal, training.seen, training.select
    ax.plot(strength.epoch_T, strength.value_T, ":", color=MUTED, linewidth=1)
    ax.plot(seen.epoch_T, seen.value_T, color=color, linewidth=0.5, alpha=0.35)
    lines = [
        *ax.plot(goal.epoch_T, goal.value_T, "--", color=INK, linewidth=1),
        *ax.plot(seen.epoch_T, seen.smooth_T, color=color, linewidth=1.6),
        *ax.plot(select.epoch_T, select.value_T, "s", color=color, markerfacecolor=PAPER),
    ]
    for kind, line in zip(("scheduled", "observed", "select"), lines, strict=True):
        line.set_gid(f"{gid}-{kind}")
    ax.set_title(training.kept.model)
    ax.set_ylim(-0.03, 1.05)
    ax.set_xlim(0, training.epochs * 1.02)
    ax.set_xlabel(f"epoch ({training.steps / training.epochs:,.0f} steps each)")


def training_marks(training: Training, gid: str) -> list[Mark]:
    goal, seen, select = training.goal, training.seen, training.select
    told = {
        "scheduled": {"at the end": f"{goal.end:.3f}"},
        "observed": {"at the end": f"{seen.end:.3f}", "scheduled": f"{goal.end:.3f}"},
        "select": {"last": f"{select.last:.3f}", "scheduled": f"{goal.last:.3f}"},
    }
    return [
        mark(f"{gid}-{kind}", f"{training.kept.model}, {kind}", training.point, details)
        for kind, details in told.items()
    ]


# Against the length


def length_figure(task: str, found: Sequence[Kept]) -> Figure:
    """A panel for every layer run, and one for each body with exits."""
    name, leaving = f"retention-{task}-length", [kept for kept in found if kept.rules]
    whole, panels = alike(found), Panels(1 + len(leaving), HEIGHT, WIDTH)
    dots = [exit_dots(kept, f"{name}-exits-{i}") for i, kept in enumerate(leaving)]

    def draw(drawing: Any) -> None:
        label = "tokens entering the last layer run / at first"
        first, *others = panels.draw(drawing, "tokens of the input", label, **SHARED)
        draw_whole(first, whole, name)
        for ax, kept, lines in zip(others, leaving, dots, strict=True):
            draw_exits(ax, kept, lines)
        if leaving:
            many = max((kept.rules for kept in leaving), key=len)
            look = {"color": MUTED, "markersize": 4, "linewidth": 1}
            looks = {r.point.setting: look | {"marker": MARKERS[k % 8]} for k, r in enumerate(many)}
            drawing.legend(*handles(looks), loc="outside upper right", ncols=6)

    marks = [whole_mark(group, f"{name}-whole-{i}") for i, group in enumerate(whole)]
    marks += [dot.mark for lines in dots for line in lines for dot in line]
    title, caption = f"Retention against length on {task}", LENGTH.format(parts=PARTS)
    return Figure(name, title, caption, draw, panels.size, marks)


def alike(found: Sequence[Kept]) -> list[list[Kept]]:
    """Bodies that keep as many of every example: they would lie on each other."""
    groups: list[list[Kept]] = []
    for kept in found:
        for group in groups:
            same = np.array_equal(group[0].lengths_B, kept.lengths_B)
            if same and np.allclose(group[0].whole_B, kept.whole_B):
                group.append(kept)
                break
        else:
            groups.append([kept])
    return groups


def draw_whole(ax: Axes, groups: Sequence[Sequence[Kept]], name: str) -> None:
    """Every length that was seen, algorithm 1's count, and what that lies above."""
    for i, group in enumerate(groups):
        kept = group[0]
        lengths_U, where_B = np.unique(kept.lengths_B, return_inverse=True)
        counts_U = np.bincount(where_B)
        means_U = np.bincount(where_B, kept.whole_B) / counts_U
        area_U = 60 * counts_U / counts_U.max() + 3
        color = kept.found.look.color if len(group) == 1 else SERIES[-1]
        dots = ax.scatter(lengths_U, means_U, area_U, color=color, alpha=0.6, linewidth=0, zorder=3)
        dots.set_gid(f"{name}-whole-{i}")
        draw_count(ax, kept, len(kept.ratios))
    draw_parts(ax, groups[0][0])
    models = [kept.model for group in groups for kept in group]
    ax.set_title("every layer run" if len(models) > 2 else f"{', '.join(models)}: every layer run")
    dress(ax, groups[0][0])


def draw_parts(ax: Axes, kept: Kept) -> None:
    """The schedule, and what [CLS] adds to it; named, as is what ceil() adds."""
    length_T = span(kept)
    goal, high = scheduled(kept.ratios), length_T[-1]
    ax.plot(length_T, with_cls(length_T, kept.ratios), ":", color=INK, linewidth=1, zorder=1.5)
    ax.plot(length_T[[0, -1]], [goal, goal], "--", color=INK, linewidth=1, zorder=1.5)
    first = int(length_T[0])
    peak = float(staircase(np.array([2 * first - 1]), kept.ratios)[0])
    below = float(with_cls(np.array([2 * first]), kept.ratios)[0])
    labels: list[tuple[str, float, float, dict[str, Any]]] = [
        (f"scheduled: {goal:.3g}", high, goal, {"ha": "right", "va": "top"}),
        ("+ [CLS]", first, below, {"va": "top"}),
        ("+ ceil()", 2 * first, peak, {"va": "bottom"}),
    ]
    for text, x, y, how in labels:
        ax.annotate(text, (x, y), (0, -3), textcoords="offset points", **how)


def draw_exits(ax: Axes, kept: Kept, lines: Sequence[Sequence[Dot]]) -> None:
    for passed in range(1, len(kept.ratios) + 1):
        draw_count(ax, kept, passed, told=True)
    for line in lines:
        draw_line(ax, line, linewidth=1)
    ax.set_title(f"{kept.model}: with exits")
    dress(ax, kept)


def exit_dots(kept: Kept, gid: str) -> list[list[Dot]]:
    """For each rule those of its groups of lengths, moved a little aside, so that intervals do not
    lie on each other."""
    many, lines = len(kept.rules), []
    for k, rule in enumerate(kept.rules):
        aside = 1 + 0.02 * (k - (many - 1) / 2)
        look = {
            "color": kept.found.look.color,
            "alpha": 0.35 + 0.65 * (k + 1) / many,
            "marker": MARKERS[k % 8],
            "markersize": 4,
            "mew": 1,
        }
        line = [
            Dot(group_mark(kept, rule, ends, found, f"{gid}-{k}-{i}"), at * aside, found, look)
            for i, (ends, at, found) in enumerate(rule.groups)
        ]
        lines.append(line)
    return lines


def span(kept: Kept) -> np.ndarray:
    return np.arange(max(2, kept.lengths_B.min()), kept.lengths_B.max() + 1)


def draw_count(ax: Axes, kept: Kept, passed: int, told: bool = False) -> None:
    """Algorithm 1's count after so many of the pruning layers."""
    length_T = span(kept)
    share_T = staircase(length_T, kept.ratios[:passed])
    ax.plot(length_T, share_T, color=MUTED, linewidth=0.8, zorder=1.5)
    if not told:
        return
    last = passed == len(kept.ratios)
    layer = kept.found.row.reduction["layers"][passed - 1]
    text = "every layer run" if last else f"left after layer {layer}"
    right_T = share_T[length_T > length_T[-1] / 3]  # where the text will stand
    y = right_T.min() if last else right_T.max()
    ax.annotate(
        *(text, (length_T[-1], y), (0, -3 if last else 3)),
        textcoords="offset points",
        ha="right",
        va="top" if last else "bottom",
        color=MUTED,
    )


def dress(ax: Axes, kept: Kept) -> None:
    from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter

    low, high = int(kept.lengths_B.min()), int(kept.lengths_B.max())
    ax.set_xscale("log")
    ticks = [t for t in (2, 5, 10, 20, 50, 100, 200, 500) if low <= t <= high]
    ax.xaxis.set_major_locator(FixedLocator(ticks))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(StrMethodFormatter("{x:.0f}"))
    ax.set_ylim(scheduled(kept.ratios) - 0.08, 1.03)


def whole_mark(group: Sequence[Kept], gid: str) -> Mark:
    kept = group[0]
    details = {
        "observed": f"{kept.whole_B.mean():.3f}",
        "algorithm 1": f"{kept.predicted_B.mean():.3f}",
        "scheduled": f"{scheduled(kept.ratios):.3f}",
        "examples": str(len(kept.whole_B)),
    }
    title = f"{', '.join(one.model for one in group)}: every layer run"
    return mark(gid, title, Point([m for one in group for m in one.found.runs]), details)


def group_mark(kept: Kept, rule: Rule, ends: tuple[int, int], found: Interval, gid: str) -> Mark:
    here_B = within(kept.lengths_B, ends)
    details = {
        "retention": found.text(3),
        "every layer run": f"{kept.whole_B[here_B].mean():.3f}",
        "length": named(ends),
        "examples": str(int(here_B.sum())),
    }
    return mark(gid, f"{kept.model}, {rule.point.setting}", rule.point, details)
