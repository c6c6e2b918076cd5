"""Place labels of marks in figures without overlaps."""

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
    """Move texts, placed at the points that they name, so that none covers another or a point.

    A thin line connects a text to its point if they are far apart. Call this last, with the final
    axis limits and layout.
    """
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
    """Put a text at the nearest position around its point that covers least; returns its box."""
    start, box, inside = ax.transData.transform(point), text.get_window_extent(), ax.bbox
    best = min(
        places(ax, box, start), key=lambda shift: clash(box.translated(*shift), covered, inside)
    )
    text.set_position(tuple(ax.transData.inverted().transform(start + best)))
    return box.translated(*best)


def places(ax: Axes, box: Bbox, start: Any) -> Iterator[np.ndarray]:
    """Yield offsets from a text's position to positions around its point, in display units."""
    centre = np.array([box.x0 + box.x1, box.y0 + box.y1]) / 2
    for step in STEPS:
        for angle in ANGLES:
            way, beside = np.array([np.cos(angle), np.sin(angle)]), 4.5 + step
            reach = np.array([box.width, box.height]) / 2 + beside * ax.figure.dpi / 72
            yield start + way * reach - centre


def clash(box: Bbox, covered: Sequence[Bbox], inside: Bbox) -> float:
    """Area of a box that covers others or lies outside the axes."""
    over = sum(area(box, other) for other in covered)
    return over + box.width * box.height - area(box, inside)


def area(one: Bbox, other: Bbox) -> float:
    """Area of the intersection of two boxes, in square display units."""
    width = min(one.x1, other.x1) - max(one.x0, other.x0)
    height = min(one.y1, other.y1) - max(one.y0, other.y0)
    return max(width, 0) * max(height, 0)


def around(ax: Axes, point: tuple[float, float], radius: float = 4.5) -> Bbox:
    """Bounding box of a mark in display units.

    Args:
        radius: in points.
    """
    from matplotlib.transforms import Bbox

    at = Bbox([ax.transData.transform(point)] * 2)
    return at.padded(radius * ax.figure.dpi / 72)


def boxes(texts: Sequence[Text]) -> list[Bbox]:
    """Bounding boxes of texts, in display units."""
    return [text.get_window_extent() for text in texts]


def part(ax: Axes, texts: Sequence[Text], tries: int = 200) -> None:
    """Move texts apart vertically that still overlap, or that touch on one line, within
    the axes.
    """
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
    """Return the pairs of boxes that overlap."""
    numbered = [*enumerate(found)]
    return [(i, j) for i, one in numbered for j, other in numbered[:i] if one.fully_overlaps(other)]


def lead(ax: Axes, text: Text, point: tuple[float, float], near: float = 8.0) -> None:
    """Draw a thin line from a text's nearest edge to its point, if longer than `near` points."""
    box = text.get_window_extent()
    x, y = ax.transData.transform(point)
    edge = min(max(x, box.x0), box.x1), min(max(y, box.y0), box.y1)
    end = tuple(ax.transData.inverted().transform(edge))
    if distance(ax, end, point) > near:
        xs, ys = zip(end, point, strict=True)
        ax.plot(xs, ys, color=text.get_color(), linewidth=0.5, alpha=0.6, zorder=1.5)


def distance(ax: Axes, one: tuple[float, float], other: tuple[float, float]) -> float:
    """Distance between two data positions on paper, in points."""
    (x0, y0), (x1, y1) = ax.transData.transform([one, other])
    return float(((x1 - x0) ** 2 + (y1 - y0) ** 2) ** 0.5) * 72 / ax.figure.dpi
