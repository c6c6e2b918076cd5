"""Labels of marks in figures, placed so that they do not overlap."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Text
    from matplotlib.transforms import Bbox


def place_labels(ax: Axes, texts: Sequence[Text]) -> None:
    """Move texts, which lie at the points they name, so that none covers another or a point; a thin
    line leads to the point where a text went far. Call it last: the limits of the axes and the
    layout must stand."""
    from adjustText import adjust_text

    if not texts:
        return
    drawing: Any = ax.figure
    for text in texts:
        text.set_in_layout(False)
    drawing.draw_without_rendering()
    drawing.set_layout_engine("none")  # what is placed stays where it is
    points = [text.get_position() for text in texts]
    to_data = ax.transData.inverted()
    covered = [around(ax, point).transformed(to_data) for point in points]
    adjust_text(
        list(texts),
        ax=ax,
        objects=covered,
        iter_lim=400,  # not by time, which would be another figure on another machine
        expand=(1.05, 1.25),
        force_text=(0.2, 0.35),
        force_static=(0.15, 0.3),
        prevent_crossings=False,
    )
    part(ax, texts)
    for text, point in zip(texts, points, strict=True):
        lead(ax, text, point)


def around(ax: Axes, point: tuple[float, float], radius: float = 4.5) -> Bbox:
    """A mark's box in display units: so many points each way."""
    from matplotlib.transforms import Bbox

    at = Bbox([ax.transData.transform(point)] * 2)
    return at.padded(radius * ax.figure.dpi / 72)


def boxes(texts: Sequence[Text]) -> list[Bbox]:
    """Find where texts are, in display units."""
    return [text.get_window_extent() for text in texts]


def part(ax: Axes, texts: Sequence[Text], tries: int = 200) -> None:
    """Move apart what still overlaps, or stands in one line without a gap, upwards and
    downwards, within the axes."""
    to_data: Callable[[Any], Any] = ax.transData.inverted().transform
    gap = 3 / 72 * ax.figure.dpi  # 3 points, about a space
    for _ in range(tries):
        pairs = overlaps([box.padded(gap / 2, 0) for box in boxes(texts)])
        if not pairs:
            return
        for i, j in pairs:
            low, high = sorted((texts[i], texts[j]), key=lambda text: text.get_window_extent().y0)
            for text, step in ((low, -2), (high, 2)):
                x, y = ax.transData.transform(text.get_position())
                text.set_position(tuple(to_data((x, y + step))))


def overlaps(found: Sequence[Bbox]) -> list[tuple[int, int]]:
    """Find the pairs of boxes that share an area."""
    numbered = [*enumerate(found)]
    return [(i, j) for i, one in numbered for j, other in numbered[:i] if one.fully_overlaps(other)]


def lead(ax: Axes, text: Text, point: tuple[float, float], near: float = 8.0) -> None:
    """A thin line from a text's nearest edge to its point, if that is over `near` points long."""
    box = text.get_window_extent()
    x, y = ax.transData.transform(point)
    edge = min(max(x, box.x0), box.x1), min(max(y, box.y0), box.y1)
    end = tuple(ax.transData.inverted().transform(edge))
    if distance(ax, end, point) > near:
        xs, ys = zip(end, point, strict=True)
        ax.plot(xs, ys, color=text.get_color(), linewidth=0.5, alpha=0.6, zorder=1.5)


def distance(ax: Axes, one: tuple[float, float], other: tuple[float, float]) -> float:
    """Measure how far two places in the data are apart on paper, in points."""
    (x0, y0), (x1, y1) = ax.transData.transform([one, other])
    return float(((x1 - x0) ** 2 + (y1 - y0) ** 2) ** 0.5) * 72 / ax.figure.dpi
