"""Figures of retention during training and by input length."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.ticker import FixedLocator, NullLocator

from eat_lightning.report.claims.retention.kept import WHOLE, Kept, Training, quarters, within
from eat_lightning.report.claims.retention.pruning import staircase, with_cls
from eat_lightning.report.figures import INK, MARKERS, MUTED, PAPER, SERIES, Figure
from eat_lightning.report.intervals import Interval, mean_interval
from eat_lightning.report.panels import dot, handles, in_panels

SIZE = 2.4, 2.7  # inches of a panel
WINDOW = 9  # logged steps that a drawn mean takes in
PARTS = 8  # groups of lengths
DRAWS = 1000  # of a bootstrap: retention takes many values, so that each draw is slow
SHARED: dict[str, Any] = {"sharex": True, "sharey": True}
TRAINING = (
    "Dashed: the schedule's product of 1 - ratio x strength. Solid: what training batches kept "
    f"(a mean over {WINDOW} logged batches; faint: each of them). Squares: the checkpoint "
    "selection split, without early exits. Dotted: the schedule's strength."
)
LENGTH = (
    "Left: each mark is a length, with an area proportional to the number of examples. The "
    "thin line is algorithm 1's count, which lies above the schedule (dashed) because [CLS] is "
    f"exempt (dotted) and ceil() rounds up. Others: with exits, means of {PARTS} groups of "
    "lengths with their 95 % intervals (bootstrap over examples), between the counts after the "
    "first pruning layers, where examples leave early, and after all of them."
)
HOLLOW: dict[str, Any] = {"marker": "s", "linestyle": "", "markerfacecolor": PAPER}
LOOKS: dict[str, dict[str, Any]] = {
    "scheduled": {"linestyle": "--", "color": INK},
    "observed in training": {"linestyle": "-", "color": MUTED},
    "observed on the selection split": {"color": MUTED, **HOLLOW},
    "strength": {"linestyle": ":", "color": MUTED},
}


def mean_of(values: Any) -> Interval:
    return mean_interval(values, draws=DRAWS)


def training_figure(task: str, trained: Sequence[Training]) -> Figure:
    def legend(drawing: Any, axes: list[Any], made: list[Any]) -> None:
        drawing.legend(*handles(LOOKS), loc="outside upper left", ncols=4, handlelength=2.2)

    name, title = f"retention-{task}-training", f"Scheduled and observed retention on {task}"
    shared = {"labels": ("", "share of the tokens"), "size": SIZE, "finish": legend, **SHARED}
    return in_panels(name, title, TRAINING, trained, draw_training, **shared)


def draw_training(ax: Any, training: Training) -> None:
    color, model = training.kept.found.look.color, training.kept.model
    goal, seen, select = training.goal, training.seen, training.select
    ax.plot(training.strength, ":", color=MUTED, linewidth=1)
    ax.plot(seen, color=color, linewidth=0.5, alpha=0.35)
    smooth = seen.rolling(WINDOW, center=True, min_periods=1).mean()
    ax.plot(goal, "--", color=INK, linewidth=1)
    ax.plot(smooth, color=color, linewidth=1.6)
    ax.plot(select, color=color, **HOLLOW)
    ax.set(title=model, ylim=(-0.03, 1.05), xlim=(0, training.epochs * 1.02))
    ax.set_xlabel(f"epoch ({training.steps / training.epochs:,.0f} steps each)")


def length_figure(task: str, found: Sequence[Kept]) -> Figure:
    """Plot a panel for every layer run, and one for each backbone with exits."""
    leaving = [kept for kept in found if kept.points]

    def legend(drawing: Any, axes: list[Any], made: list[Any]) -> None:
        if leaving:
            many = max((kept.points for kept in leaving), key=len)
            look = {"color": MUTED, "markersize": 4, "linewidth": 1}
            looks = {name: look | {"marker": MARKERS[k % 8]} for k, name in enumerate(many)}
            drawing.legend(*handles(looks), loc="outside upper right", ncols=6)

    def draw(ax: Any, shown: Kept | list[list[Kept]]) -> None:
        draw_exits(ax, shown) if isinstance(shown, Kept) else draw_whole(ax, shown)

    name, title = f"retention-{task}-length", f"Retention against length on {task}"
    labels = "tokens of the input", "tokens entering the last executed layer / initial tokens"
    items = [alike(found), *leaving]
    return in_panels(name, title, LENGTH, items, draw, labels, SIZE, legend, **SHARED)


def alike(found: Sequence[Kept]) -> list[list[Kept]]:
    """Group backbones that keep equally many tokens of every example, since their lines
    coincide.
    """
    groups: list[list[Kept]] = []
    for kept in found:
        mine = kept.examples
        for group in groups:
            theirs = group[0].examples
            same = np.array_equal(mine["length"], theirs["length"])
            if same and np.allclose(mine[WHOLE], theirs[WHOLE]):
                group.append(kept)
                break
        else:
            groups.append([kept])
    return groups


def draw_whole(ax: Any, groups: Sequence[Sequence[Kept]]) -> None:
    """Draw retention for every observed length, algorithm 1's count, and the scheduled value below
    it.
    """
    for group in groups:
        kept, e = group[0], group[0].examples
        seen = e.groupby("length")[WHOLE].agg(["mean", "size"])
        color = kept.found.look.color if len(group) == 1 else SERIES[-1]
        area = 60 * seen["size"] / seen["size"].max() + 3
        look = {"color": color, "alpha": 0.6, "linewidth": 0, "zorder": 3}
        ax.scatter(seen.index, seen["mean"], area, **look)
        draw_count(ax, kept, len(kept.ratios))
    draw_parts(ax, groups[0][0])
    models = [kept.model for group in groups for kept in group]
    ax.set_title(WHOLE if len(models) > 2 else f"{', '.join(models)}: {WHOLE}")
    dress(ax, groups[0][0])


def draw_parts(ax: Any, kept: Kept) -> None:
    """Draw the schedule, and the labelled contributions of [CLS] and ceil()."""
    length_T, goal = span(kept), kept.scheduled
    first, high = int(length_T[0]), length_T[-1]
    ax.plot(length_T, with_cls(length_T, kept.ratios), ":", color=INK, linewidth=1, zorder=1.5)
    ax.plot([first, high], [goal, goal], "--", color=INK, linewidth=1, zorder=1.5)
    (peak,) = staircase(np.array([2 * first - 1]), kept.ratios)
    (below,) = with_cls(np.array([2 * first]), kept.ratios)
    under: dict[str, Any] = {"xytext": (0, -3), "textcoords": "offset points"}
    ax.annotate(f"scheduled: {goal:.3g}", (high, goal), ha="right", va="top", **under)
    ax.annotate("+ [CLS]", (first, below), va="top", **under)
    ax.annotate("+ ceil()", (2 * first, peak), va="bottom", **under)


def draw_exits(ax: Any, kept: Kept) -> None:
    """Draw counts after each pruning layer, and mean retention by groups of lengths under each
    rule, shifted slightly so that intervals do not overlap.
    """
    for passed in range(1, len(kept.ratios) + 1):
        draw_count(ax, kept, passed, told=True)
    many = len(kept.points)
    for k, setting in enumerate(kept.points):
        look = {"color": kept.found.look.color, "alpha": 0.35 + 0.65 * (k + 1) / many}
        marker = {"marker": MARKERS[k % 8], "markersize": 4, "mew": 1}
        at = []
        for ends in quarters(kept.examples["length"], PARTS):
            here = within(kept.examples, ends)
            x = here["length"].mean() * (1 + 0.02 * (k - (many - 1) / 2))
            found = mean_of(here[setting])
            at.append((x, found.value))
            dot(ax, x, found, **look, **marker)
        ax.plot(*zip(*at, strict=True), linewidth=1, **look)
    ax.set_title(f"{kept.model}: with exits")
    dress(ax, kept)


def span(kept: Kept) -> np.ndarray:
    lengths = kept.examples["length"]
    return np.arange(max(2, lengths.min()), lengths.max() + 1)


def draw_count(ax: Any, kept: Kept, passed: int, told: bool = False) -> None:
    """Draw algorithm 1's count after the first `passed` pruning layers."""
    length_T = span(kept)
    share_T = staircase(length_T, kept.ratios[:passed])
    ax.plot(length_T, share_T, color=MUTED, linewidth=0.8, zorder=1.5)
    if not told:
        return
    right_T = share_T[length_T > length_T[-1] / 3]  # where the text will stand
    text = f"left after layer {kept.found.row.reduction.arguments['layers'][passed - 1]}"
    y, rise, side = right_T.max(), 3, "bottom"
    if passed == len(kept.ratios):
        text, y, rise, side = WHOLE, right_T.min(), -3, "top"
    how: dict[str, Any] = {"textcoords": "offset points", "ha": "right", "va": side}
    ax.annotate(text, (length_T[-1], y), (0, rise), color=MUTED, **how)


def dress(ax: Any, kept: Kept) -> None:
    lengths = kept.examples["length"]
    ax.set_xscale("log")
    ticks = [t for t in (2, 5, 10, 20, 50, 100, 200, 500) if lengths.min() <= t <= lengths.max()]
    ax.xaxis.set_major_locator(FixedLocator(ticks))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter("{x:.0f}")
    ax.set_ylim(kept.scheduled - 0.08, 1.03)
