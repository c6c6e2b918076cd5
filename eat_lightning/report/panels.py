"""Parts of figures: panels, marks with intervals, legends."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from eat_lightning.report.figures import INK, Figure
from eat_lightning.report.intervals import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def in_panels(
    name: str,
    title: str,
    caption: str,
    items: Sequence[Any],
    draw: Callable[[Axes, Any], Any],
    labels: tuple[str, str] = ("", ""),
    size: tuple[float, float] = (3.0, 2.5),
    finish: Callable[[Any, list[Axes], list[Any]], None] | None = None,
    **shared: bool,
) -> Figure:
    """Return a figure with a panel for each item, up to three in a row.

    Args:
        draw: fills the axes of an item.
        finish: receives the drawing, all axes, and the return values of `draw`.
        labels: axis labels, below the last row of each column and beside the first column.
    """
    columns = min(3, len(items))
    rows = -(-len(items) // columns)

    def whole(drawing: Any) -> None:
        grid = drawing.subplots(rows, columns, squeeze=False, **shared)
        for ax in grid.flat[len(items) :]:
            ax.remove()
        axes = list(grid.flat[: len(items)])
        for i, ax in enumerate(axes):
            ax.set_ylabel("" if i % columns else labels[1])
            ax.set_xlabel(labels[0] if i + columns >= len(items) else "")
            ax.tick_params(labelbottom=True)
        made = [draw(ax, item) for ax, item in zip(axes, items, strict=True)]
        if finish is not None:
            finish(drawing, axes, made)

    inches = max(4.5, 0.8 + size[0] * columns), 0.3 + size[1] * rows
    return Figure(name, title, caption, whole, inches)


Place = float | Interval


def dot(ax: Axes, x: Place, y: Place, line: Mapping[str, Any] | None = None, **look: Any) -> Any:
    """Draw a mark with its intervals as error bars; `look` styles the mark and `line` the bars."""
    (x, wide), (y, high) = ends_of(x), ends_of(y)
    faint = {"color": look["color"], "alpha": 0.5 * look.get("alpha", 1.0), "linewidth": 0.9}
    for xs, ys in ((wide, [y, y]), ([x, x], high)):
        if [*xs, *ys] != [x, x, y, y]:
            ax.plot(xs, ys, **faint | dict(line or {}))
    usual: dict[str, Any] = {"markersize": 4.5, "linestyle": "", "mew": 0, "zorder": 3}
    return ax.plot(x, y, **usual | look)[0]


def ends_of(at: Place) -> tuple[float, list[float]]:
    return (at.value, [at.low, at.high]) if isinstance(at, Interval) else (at, [at, at])


def handles(looks: Mapping[str, Mapping[str, Any]]) -> tuple[list[Any], list[str]]:
    """Return lines and their labels for a legend."""
    from matplotlib.lines import Line2D

    lines: list[Any] = [Line2D([], [], **look) for look in looks.values()]
    return lines, list(looks)


def bar(ax: Axes, y: float, found: Interval, height: float, color: str) -> Any:
    """Draw a horizontal bar with its interval."""
    (patch,) = ax.barh(y, found.value, height=height * 0.9, color=color, linewidth=0)
    ax.plot([found.low, found.high], [y, y], color=INK, linewidth=0.9)
    return patch


def bare_rows(ax: Axes, names: list[str]) -> None:
    """Set a row for each name from top to bottom, without grid lines or ticks."""
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.grid(visible=False, axis="y")
    ax.tick_params(axis="y", length=0)
