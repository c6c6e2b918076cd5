"""The cells of a factorial as a figure: normalised cost, and accuracy against nothing on."""

from __future__ import annotations

from typing import Any

from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from eat_lightning.report.figures import INK, SERIES, Figure
from eat_lightning.report.panels import bar, bare_rows

from .factorial import Cell, Factorial, name_of

COLORS = (SERIES[1], SERIES[0], SERIES[4])  # as in the figure of costs
HEIGHT = 0.26  # of a bar
MULTIPLIED = "single savings multiplied"
CAPTION = (
    "Left: cost with nothing on as 1: counted FLOPs, and measured time (lines: extremes of the "
    "repeats, divided). A tick across a bar is what the parts' single savings would multiply to. "
    "Right: accuracy against nothing on, with its paired 95 % interval over {n} examples."
)


def figure_of(name: str, title: str, factorial: Factorial) -> Figure:
    names = [name_of(cell) for cell in factorial.cells]

    def draw(drawing: Any) -> None:
        left, right = drawing.subplots(1, 2, sharey=True, width_ratios=(3, 2))
        for place, cell in enumerate(factorial.cells):
            draw_costs(left, place, factorial, cell)
            draw_accuracy(right, place, factorial, cell)
        for ax, at in ((left, 1), (right, 0)):
            bare_rows(ax, names)
            ax.axvline(at, color=INK, linewidth=0.8)
        left.set_xlabel("cost, as a share of that with none of them")
        right.set_xlabel("accuracy against none of them (points)")
        titles = factorial.titles.values()
        bars: list[Any] = [Patch(color=color) for color, _ in zip(COLORS, titles, strict=False)]
        tick = {"marker": "|", "linestyle": "", "markersize": 8, "markeredgewidth": 1.6}
        artists = [*bars, Line2D([], [], color=INK, **tick)]
        look = {"loc": "outside upper left", "ncols": 4, "handlelength": 1.2}
        drawing.legend(artists, [*titles, MULTIPLIED], **look)

    caption = CAPTION.format(n=factorial.off.row.num_examples)
    return Figure(name, title, caption, draw, (7.2, 1.0 + 0.42 * len(names)))


def draw_costs(ax: Any, place: int, f: Factorial, cell: Cell) -> None:
    for k, key in enumerate(f.titles):
        if (saved := f.savings[key].get(cell)) is None:
            continue
        found, y = saved.inverse, place + (k - (len(f.titles) - 1) / 2) * HEIGHT
        bar(ax, y, found, HEIGHT, COLORS[k])
        if product := f.multiplied(cell, key):
            expected, half = product.inverse.value, HEIGHT * 0.45
            ax.plot([expected] * 2, [y - half, y + half], color=INK, linewidth=1.6)


def draw_accuracy(ax: Any, place: int, f: Factorial, cell: Cell) -> None:
    found = f.difference(cell)
    if found is None:
        return
    if found.interval is not None:
        ax.plot([found.interval.low, found.interval.high], [place, place], color=INK, linewidth=1)
    ax.plot(found.points, place, "o", color=INK)
