"""Labels of marks in figures, placed so that they do not overlap."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Text
    from matplotlib.transforms import Bbox


STEPS = (0, 4, 9, 15, 22, 30, 40, 52, 66)  # points between a mark and its label, nearest first
ANGLES = np.pi * (0.25 + np.arange(12) / 6)  # first to the upper right


def place_labels(ax: Axes, texts: Sequence[Text]) -> None:
    """Move texts, which lie at the points they name, so that none covers another or a point; a thin
    line leads to the point where a text went far. Call it last: the limits of the axes and the
    layout must stand."""
    if not texts:
        return
    drawing: Any = ax.figure
    for text in texts:
        text.set_in_layout(False)
    drawing.draw_without_rendering()
    drawing.set_layout_engine("none")  # what is placed stays where it is
    points = [text.get_position() for text in texts]
    covered = [around(ax, point) for point in points]
    for text, point in zip(texts, points, strict=True):
        covered.append(move(ax, text, point, covered))
    part(ax, texts)
    for text, point in zip(texts, points, strict=True):
        lead(ax, text, point)


def move(ax: Axes, text: Text, point: tuple[float, float], covered: Sequence[Bbox]) -> Bbox:
    """Put a text at the nearest place around its point that covers least; returns its box."""
    start, box, inside = ax.transData.transform(point), text.get_window_extent(), ax.bbox
    best = min(
        places(ax, box, start), key=lambda shift: clash(box.translated(*shift), covered, inside)
    )
    text.set_position(tuple(ax.transData.inverted().transform(start + best)))
    return box.translated(*best)


def places(ax: Axes, box: Bbox, start: Any) -> Iterator[np.ndarray]:
    """Ways from where a text stands to places around its point, in display units."""
    centre = np.array([box.x0 + box.x1, box.y0 + box.y1]) / 2
    for step in STEPS:
        for angle in ANGLES:
            way, beside = np.array([np.cos(angle), np.sin(angle)]), 4.5 + step
            reach = np.array([box.width, box.height]) / 2 + beside * ax.figure.dpi / 72
            yield start + way * reach - centre


def clash(box: Bbox, covered: Sequence[Bbox], inside: Bbox) -> float:
    """The area of a box that lies over others or outside the axes."""
    over = sum(area(box, other) for other in covered)
    return over + box.width * box.height - area(box, inside)


def area(one: Bbox, other: Bbox) -> float:
    """What two boxes share, in square display units."""
    width = min(one.x1, other.x1) - max(one.x0, other.x0)
    height = min(one.y1, other.y1) - max(one.y0, other.y0)
    return max(width, 0) * max(height, 0)


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
