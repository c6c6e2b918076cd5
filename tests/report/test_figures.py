from pathlib import Path
from xml.etree import ElementTree

import pytest
from pages import contrast

from eat_lightning.report import figures
from eat_lightning.report.figures import Figure, read
from eat_lightning.report.provenance import Provenance


@pytest.mark.parametrize("color", figures.SERIES)
@pytest.mark.parametrize("page", ["#ffffff", figures.PAGE_DARK])
def test_colours_stand_out_on_both_pages(color: str, page: str) -> None:
    assert contrast(color, page) >= 3  # WCAG 2, 1.4.11: graphical objects


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
