"""Figures: colours, files, and labels of marks."""

from pathlib import Path

import numpy as np
import pytest
from helpers.pages import contrast

from eat_lightning.report import figures, labels
from eat_lightning.report.figures import Figure


@pytest.mark.parametrize("color", figures.SERIES)
def test_colours_stand_out(color: str) -> None:
    assert contrast(color, "#ffffff") >= 3  # WCAG 2, 1.4.11: graphical objects
    dark = figures.DARK.get(color, color)
    assert contrast(dark, figures.DARK[figures.PAPER]) >= 4  # thin lines of intervals are on it too


def simple(drawing) -> None:
    ax = drawing.add_subplot()
    ax.plot([0, 1], [0, 1], color=figures.SERIES[0], marker="o")


@pytest.fixture
def figure() -> Figure:
    return Figure("simple", 'A "title"', "", simple, (2, 2))


def test_saved_again_it_is_the_same_file(figure: Figure, tmp_path: Path) -> None:
    first = figures.save(figure, tmp_path / "a")
    second = figures.save(figure, tmp_path / "b")
    assert {path.name for path in first.values()} == {"simple.pdf", "simple.png", "simple.svg"}
    assert len([*(tmp_path / "a").iterdir()]) == 3
    for kind, path in first.items():
        assert path.read_bytes() == second[kind].read_bytes(), kind


def test_a_figure_for_dark_pages_has_other_colours(figure: Figure) -> None:
    light, dark = figures.pair(figure)
    assert figures.PAPER in light
    assert figures.INK in light
    assert not [color for color in figures.DARK if color in dark]


def test_labels_do_not_overlap() -> None:
    """Sixteen labels on points that nearly coincide, four of them exactly."""
    at = np.random.default_rng(0).normal(size=(16, 2)) * 0.05
    at[:4] = at[0]
    with figures.style("crowd"):
        drawing = figures.drawn(Figure("crowd", "", "", lambda drawing: None, (4, 3)))
        ax = drawing.add_subplot()
        ax.plot(*at.T, "o")
        texts = [ax.text(x, y, f"eat tau 0.{i}") for i, (x, y) in enumerate(at)]
        drawing.draw_without_rendering()
        assert labels.overlaps(labels.boxes(texts))
        labels.place_labels(ax, texts)
        drawing.canvas.draw()
        found, inside = labels.boxes(texts), ax.get_window_extent()
    assert labels.overlaps(found) == []
    assert all(inside.x0 <= (box.x0 + box.x1) / 2 <= inside.x1 for box in found)
