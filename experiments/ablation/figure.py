"""The cells of a factorial as a figure: normalised cost, and accuracy against nothing on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from eat_lightning.report import cells
from eat_lightning.report.claim import Figure, Mark
from eat_lightning.report.figures import INK, SERIES
from eat_lightning.report.statistics import Interval

from .factorial import (
    OFF,
    Cell,
    Factor,
    Factorial,
    costs,
    multiplied,
    name_of,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLORS = (SERIES[1], SERIES[0], SERIES[4])  # as in the figure of costs
HEIGHT = 0.26  # of a bar
CAPTION = (
    "Left: cost with nothing on as 1: counted FLOPs, and measured time (lines: extremes of the "
    "repeats, divided). A tick across a bar is what the parts' single savings would multiply to. "
    "Right: accuracy against nothing on, with its paired 95 % interval over {n} examples."
)


def cost(of: Factor, cell: Cell) -> Interval | None:
    """As a share of the cost with nothing on."""
    return inverse(of(cell))


def inverse(found: Interval | None) -> Interval | None:
    return None if found is None else Interval(1 / found.value, 1 / found.high, 1 / found.low)


def figure_of(name: str, title: str, factorial: Factorial) -> Figure:
    shown = list(factorial.cells)

    def draw(drawing: Any) -> None:
        left, right = drawing.subplots(1, 2, sharey=True, width_ratios=(3, 2))
        for place, cell in enumerate(shown):
            draw_costs(left, place, factorial, cell, name)
            draw_accuracy(right, place, factorial, cell, name)
        dress(left, shown)
        left.axvline(1, color=INK, linewidth=0.8)
        left.set_xlabel("cost, as a share of that with none of them")
        right.axvline(0, color=INK, linewidth=0.8)
        right.set_xlabel("accuracy against none of them (points)")
        drawing.legend(*handles(factorial), loc="outside upper left", ncols=4, handlelength=1.2)

    caption = CAPTION.format(n=factorial.off.row.num_examples)
    marks = [mark for i, cell in enumerate(shown) for mark in marks_of(factorial, i, cell, name)]
    return Figure(name, title, caption, draw, (7.2, 1.0 + 0.42 * len(shown)), marks)


def draw_costs(ax: Axes, place: int, factorial: Factorial, cell: Cell, name: str) -> None:
    saved = costs(factorial)
    for k, ((_, of), color) in enumerate(zip(saved.values(), COLORS, strict=False)):
        found, expected = cost(of, cell), inverse(multiplied(factorial, cell, of))
        if found is None:
            continue
        y = place + (k - (len(saved) - 1) / 2) * HEIGHT
        bars = ax.barh([y], [found.value], height=HEIGHT * 0.9, color=color, linewidth=0)
        bars.patches[0].set_gid(f"{name}-{place}-{k}")
        ax.plot([found.low, found.high], [y, y], color=INK, linewidth=0.9)
        if expected is not None and sum(cell) > 1:
            ends = [y - HEIGHT * 0.45, y + HEIGHT * 0.45]
            ax.plot([expected.value, expected.value], ends, color=INK, linewidth=1.6)


def draw_accuracy(ax: Axes, place: int, factorial: Factorial, cell: Cell, name: str) -> None:
    found = factorial.difference(cell)
    if found is None:
        return
    if found.interval is not None:
        ends = [found.interval.low, found.interval.high]
        ax.plot(ends, [place, place], color=INK, linewidth=1)
    (mark,) = ax.plot(found.points, place, "o", color=INK)
    mark.set_gid(f"{name}-{place}-accuracy")


def dress(ax: Axes, shown: list[Cell]) -> None:
    ax.set_yticks(range(len(shown)), [name_of(cell) for cell in shown])
    ax.set_ylim(len(shown) - 0.5, -0.5)
    for one in ax.figure.axes:
        one.grid(visible=False, axis="y")
        one.tick_params(axis="y", length=0)


def handles(factorial: Factorial) -> tuple[list[Any], list[str]]:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    saved = [what for what, _ in costs(factorial).values()]
    bars: list[Any] = [Patch(color=color) for _, color in zip(saved, COLORS, strict=False)]
    tick = Line2D([], [], color=INK, marker="|", linestyle="", markersize=8, markeredgewidth=1.6)
    return [*bars, tick], [*saved, "single savings multiplied"]


def marks_of(factorial: Factorial, place: int, cell: Cell, name: str) -> list[Mark]:
    point, made = factorial.cells[cell], []
    for k, (what, of) in enumerate(costs(factorial).values()):
        found, expected = cost(of, cell), inverse(multiplied(factorial, cell, of))
        if found is None:
            continue
        details = [(what, told(found)), ("seeds", ", ".join(map(str, point.seeds)))]
        if expected is not None and sum(cell) > 1:
            details.insert(1, ("single savings multiplied", f"{expected.value:.3f}"))
        made.append(
            Mark(f"{name}-{place}-{k}", name_of(cell), tuple(details), factorial.source(cell))
        )
    gained = None if cell == OFF else factorial.difference(cell)
    if gained is not None:
        details = [("accuracy", cells.accuracy(point).text), ("points", cells.points_text(gained))]
        gid = f"{name}-{place}-accuracy"
        made.append(Mark(gid, name_of(cell), tuple(details), factorial.source(cell)))
    return made


def told(found: Interval) -> str:
    if found.low == found.high:
        return f"{found.value:.3f}"
    return f"{found.value:.3f} ({found.low:.3f} to {found.high:.3f})"
