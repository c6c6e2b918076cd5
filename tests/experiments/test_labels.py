"""Labels of marks in figures."""

import numpy as np

from eat_lightning.report import figures, labels
from eat_lightning.report.figures import Figure


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
