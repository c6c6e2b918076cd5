from io import BytesIO
from pathlib import Path

import pytest
from helpers.pages import contrast
from PIL import Image

from eat_lightning.report import figures
from eat_lightning.report.figures import Figure


@pytest.mark.parametrize("color", figures.SERIES)
def test_colours_stand_out(color: str) -> None:
    assert contrast(color, "#ffffff") >= 3  # WCAG 2, 1.4.11: graphical objects


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


def test_an_image_for_a_page(figure: Figure) -> None:
    image = Image.open(BytesIO(figures.png(figure)))
    assert (image.format, image.size) == ("PNG", (400, 400))
