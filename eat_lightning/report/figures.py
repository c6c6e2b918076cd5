"""Figures in a common style, with one look for each model, saved as PDF, PNG and SVG.

Figures are drawn without pyplot, so they share no state and need no display.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from eat_lightning.files import replacing, write_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

KINDS = ("pdf", "png", "svg")
# Each at least 3:1 against white, and apart from each other as people with protanopia, deuteranopia
# or tritanopia see them (tests/report/test_figures.py).
SERIES = ("#d55e00", "#0072b2", "#009e73", "#9700f2", "#a65b8a", "#9385f2", "#d90036", "#7f7f7f")
MARKERS = ("o", "s", "D", "^", "v", "P", "X", "p")
INK, MUTED, GRID, PAPER = "#1c1d21", "#74777f", "#d9dade", "#fefefe"
DARK = {  # on a dark page
    **{INK: "#e6e7ea", MUTED: "#a3a7b0", GRID: "#3a3d44", PAPER: "#16181d"},
    **{"#0072b2": "#2585c7", "#9700f2": "#b04ff7", "#a65b8a": "#bb76a1", "#d90036": "#e8365f"},
}
NO_DATES = {  # so that a figure which is drawn again is the same file
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None, "Format": None, "Type": None},
}


@dataclass
class Figure:
    """A figure; `draw` fills an empty matplotlib figure of `size` inches."""

    name: str
    title: str
    caption: str
    draw: Callable[[Any], None]
    size: tuple[float, float] = (6.0, 4.0)


class SeriesLook(NamedTuple):
    color: str
    marker: str


def looks(names: Iterable[str]) -> dict[str, SeriesLook]:
    """Return a colour and a marker for each name, in alphabetical order. Figures given the same
    names share them. After eight names, colours repeat with another marker.
    """
    many = len(SERIES)
    return {
        name: SeriesLook(SERIES[i % many], MARKERS[(i + i // many) % len(MARKERS)])
        for i, name in enumerate(sorted(set(names)))
    }


def looks_of(study: Any) -> dict[str, SeriesLook]:
    """Return the looks of a study's models by name."""
    return looks(study.names.values())


@contextmanager
def style(name: str) -> Iterator[None]:
    """Apply the common style; `name` makes the SVG's ids reproducible."""
    import matplotlib

    house = Path(__file__).with_name("house.mplstyle")
    with matplotlib.rc_context(fname=house):
        matplotlib.rcParams["svg.hashsalt"] = name
        yield


def drawn(figure: Figure) -> Drawing:
    """Draw the matplotlib figure. It must be called within `style`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Drawing

    drawing = Drawing(figsize=figure.size, dpi=200)
    FigureCanvasAgg(drawing)
    figure.draw(drawing)
    return drawing


def save(figure: Figure, folder: Path, kinds: Sequence[str] = KINDS) -> dict[str, Path]:
    """Write name.pdf, name.png (200 dpi) and name.svg atomically. Returns the paths by
    extension.
    """
    logging.getLogger("fontTools").setLevel(logging.WARNING)  # it tells every glyph of a PDF
    paths = {kind: folder / f"{figure.name}.{kind}" for kind in kinds}
    with style(figure.name):
        drawing = drawn(figure)
        for kind, path in paths.items():
            with replacing(path) as beside:
                beside.write_bytes(written(drawing, kind))
    return paths


def pair(figure: Figure) -> tuple[str, str]:
    """Return the SVG for light pages and the one for dark pages."""
    with style(figure.name):
        light = written(drawn(figure), "svg").decode()
    dark = light
    for color, instead in DARK.items():
        dark = dark.replace(color, instead)
    return light, dark


def save_pair(figure: Figure, folder: Path) -> list[Path]:
    """Write name.svg for light pages and name-dark.svg for dark ones; returns both paths."""
    paths = [folder / f"{figure.name}{end}.svg" for end in ("", "-dark")]
    for path, text in zip(paths, pair(figure), strict=True):
        write_text(path, text)
    return paths


def written(drawing: Drawing, kind: str) -> bytes:
    file = BytesIO()
    drawing.savefig(file, format=kind, metadata=NO_DATES[kind])
    return lighter(file) if kind == "png" else file.getvalue()


def lighter(png: BytesIO) -> bytes:
    """Reduce a PNG to 256 colours, which halves its size without visible difference."""
    from PIL import Image

    fewer, file = Image.open(png).convert("RGB").quantize(dither=Image.Dither.NONE), BytesIO()
    fewer.save(file, "png", optimize=True)
    return file.getvalue()
