from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from pages import contrast

from eat_lightning.report import figures
from eat_lightning.report.figures import Figure, read
from eat_lightning.report.provenance import Provenance

# Machado, Oliveira and Fernandes 2009, severity 1: on linear RGB.
AS_SEEN = {
    "all cones": np.eye(3),
    "protanopia": np.array(
        [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]]
    ),
    "deuteranopia": np.array(
        [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]]
    ),
    "tritanopia": np.array(
        [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]]
    ),
}
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def linear(color: str) -> np.ndarray:
    value = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    ratio = TO_XYZ @ rgb / TO_XYZ.sum(1)
    f = np.where(ratio > 0.008856, np.cbrt(ratio), 7.787 * ratio + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("color", figures.SERIES)
@pytest.mark.parametrize("page", ["#ffffff", figures.PAGE_DARK])
def test_colours_stand_out_on_both_pages(color: str, page: str) -> None:
    assert contrast(color, page) >= 3  # WCAG 2, 1.4.11: graphical objects


@pytest.mark.parametrize("eyes", AS_SEEN)
def test_colours_are_told_apart(eyes: str) -> None:
    seen = [lab(np.clip(AS_SEEN[eyes] @ linear(color), 0, 1)) for color in figures.SERIES[:7]]
    assert min(np.linalg.norm(one - other) for one, other in combinations(seen, 2)) > 15


def simple(drawing) -> None:
    ax = drawing.add_subplot()
    (line,) = ax.plot([0, 1], [0, 1], color=figures.SERIES[0], marker="o")
    read(line, "a", Provenance(("r",)), {"accuracy": "88.8", "left out": ""})
    ax.set_title("3 < 4")


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


def test_svg_for_a_page(figure: Figure) -> None:
    text = figures.svg(figure)
    root = ElementTree.fromstring(text)
    ids = [element.get("id") for element in root.iter() if element.get("id")]
    assert len(ids) == len({*ids})
    assert all(i.startswith("simple-") for i in ids if i)
    (mark,) = figure.marks
    assert mark.gid in ids
    assert (mark.title, mark.details) == ("a", (("accuracy", "88.8"),))
    assert root.get("aria-label") == 'A "title"'
    assert "currentColor" in text
    assert "var(--series-1, #d55e00)" in text
    assert ">3 &lt; 4</text>" in text
    assert "<style" not in text
    assert figures.INK not in text
