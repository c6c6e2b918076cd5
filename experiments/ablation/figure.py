"""The cells of a factorial as a figure: normalised cost, and accuracy against nothing on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from eat_lightning.report import cells
from eat_lightning.report.claim import Figure, Mark
from eat_lightning.report.columns import mark
from eat_lightning.report.figures import INK, SERIES
from eat_lightning.report.panels import bar, bare_rows
from eat_lightning.report.passes import seeds_text
from eat_lightning.report.statistics import Interval

from .factorial import Cell, Factorial, Saving, name_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLORS = (SERIES[1], SERIES[0], SERIES[4])  # as in the figure of costs
HEIGHT = 0.26  # of a bar
CAPTION = (
    "Left: cost with nothing on as 1: counted FLOPs, and measured time (lines: extremes of the "
    "repeats, divided). A tick across a bar is what the parts' single savings would multiply to. "
    "Right: accuracy against nothing on, with its paired 95 % interval over {n} examples."
)


def figure_of(name: str, title: str, factorial: Factorial) -> Figure:
    shown = list(factorial.cells)

    def draw(drawing: Any) -> None:
        left, right = drawing.subplots(1, 2, sharey=True, width_ratios=(3, 2))
        for place, cell in enumerate(shown):
            draw_costs(left, place, factorial, cell, name)
            draw_accuracy(right, place, factorial, cell, name)
        for ax, at in ((left, 1), (right, 0)):
            bare_rows(ax, [name_of(cell) for cell in shown])
            ax.axvline(at, color=INK, linewidth=0.8)
        left.set_xlabel("cost, as a share of that with none of them")
        right.set_xlabel("accuracy against none of them (points)")
        drawing.legend(*handles(factorial), loc="outside upper left", ncols=4, handlelength=1.2)

    caption = CAPTION.format(n=factorial.off.row.num_examples)
    marks = [mark for i, cell in enumerate(shown) for mark in marks_of(factorial, i, cell, name)]
    return Figure(name, title, caption, draw, (7.2, 1.0 + 0.42 * len(shown)), marks)


def expected_share(factorial: Factorial, saving: Saving, cell: Cell) -> Interval | None:
    """The cost if the parts' single savings multiplied."""
    found = factorial.multiplied(cell, saving)
    return found and found.inverse


def draw_costs(ax: Axes, place: int, factorial: Factorial, cell: Cell, name: str) -> None:
    for k, saving in enumerate(factorial.savings):
        if (found := saving.share(cell)) is None:
            continue
        y = place + (k - (len(factorial.savings) - 1) / 2) * HEIGHT
        bar(ax, f"{name}-{place}-{k}", y, found, HEIGHT, COLORS[k])
        if expected := expected_share(factorial, saving, cell):
            ends = [y - HEIGHT * 0.45, y + HEIGHT * 0.45]
            ax.plot([expected.value] * 2, ends, color=INK, linewidth=1.6)


def draw_accuracy(ax: Axes, place: int, factorial: Factorial, cell: Cell, name: str) -> None:
    found = factorial.difference(cell)
    if found is None:
        return
    if found.interval is not None:
        ax.plot([found.interval.low, found.interval.high], [place, place], color=INK, linewidth=1)
    ax.plot(found.points, place, "o", color=INK)[0].set_gid(f"{name}-{place}-accuracy")


def handles(factorial: Factorial) -> tuple[list[Any], list[str]]:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    titles = [saving.title for saving in factorial.savings]
    bars: list[Any] = [Patch(color=color) for color in COLORS[: len(titles)]]
    tick = Line2D([], [], color=INK, marker="|", linestyle="", markersize=8, markeredgewidth=1.6)
    return [*bars, tick], [*titles, "single savings multiplied"]


def marks_of(factorial: Factorial, place: int, cell: Cell, name: str) -> Iterator[Mark]:
    point, source, title = factorial.cells[cell], factorial.source(cell), name_of(cell)
    for k, saving in enumerate(factorial.savings):
        if (found := saving.share(cell)) is None:
            continue
        expected = expected_share(factorial, saving, cell)
        details = {
            saving.title: found.text(3) if found.low < found.high else f"{found.value:.3f}",
            "single savings multiplied": f"{expected.value:.3f}" if expected else "",
            "seeds": seeds_text(point),
        }
        yield mark(f"{name}-{place}-{k}", title, source, details)
    if gained := factorial.difference(cell):
        told = {"accuracy": cells.accuracy(point).text, "points": cells.points_text(gained)}
        yield mark(f"{name}-{place}-accuracy", title, source, told)
