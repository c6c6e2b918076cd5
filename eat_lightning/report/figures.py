"""Figures in the house style: one look for each model, files as PDF, PNG and SVG.

Figures are drawn without pyplot, so that no state is shared and none depends on a display.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from xml.sax.saxutils import quoteattr

from eat_lightning.files import replacing
from eat_lightning.report.provenance import Provenance
from eat_lightning.report.study import Point

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

KINDS = ("pdf", "png", "svg")
# Each at least 3:1 against white and against PAGE_DARK, and apart from each other as people with
# protanopia, deuteranopia or tritanopia see them (tests/report/test_figures.py): one set for both.
SERIES = ("#d55e00", "#0072b2", "#009e73", "#9700f2", "#a65b8a", "#9385f2", "#d90036", "#7f7f7f")
MARKERS = ("o", "s", "D", "^", "v", "P", "X", "p")
INK, MUTED, GRID, PAPER = "#1c1d21", "#74777f", "#d9dade", "#fefefe"
PAGE_DARK = "#16181d"
VARIABLES = {  # what the page's style sheet may define; each falls back on the colour itself
    **{color: f"var(--series-{i}, {color})" for i, color in enumerate(SERIES, start=1)},
    INK: "currentColor",
    MUTED: f"var(--muted, {MUTED})",
    GRID: f"var(--grid, {GRID})",
    PAPER: f"var(--paper, {PAPER})",
}
NO_DATES = {  # so that a figure which is drawn again is the same file
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None, "Format": None, "Type": None},
}


@dataclass(frozen=True)
class Mark:
    """Text for who points at a mark: the artist with gid `gid` in the figure's SVG."""

    gid: str
    title: str
    details: tuple[tuple[str, str], ...]  # ("accuracy", "88.76 (86.6 to 90.8)"), ...
    source: Provenance


@dataclass
class Figure:
    """`draw` fills an empty matplotlib figure of `size` inches, and tells `read` of its marks."""

    name: str
    title: str
    caption: str
    draw: Callable[[Any], None]
    size: tuple[float, float] = (6.0, 4.0)

    @cached_property
    def marks(self) -> list[Mark]:
        with style(self.name):
            return marks_of(drawn(self))


def read(artist: Any, title: str, of: Provenance | Point, details: Mapping[str, str]) -> None:
    """Make an artist a mark of its figure; details without a text are left out."""
    shown = tuple((what, text) for what, text in details.items() if text)
    artist.mark = Mark("", title, shown, Provenance.of(of))


def marks_of(drawing: Drawing) -> list[Mark]:
    found = drawing.findobj(lambda artist: hasattr(artist, "mark"))
    return [artist.mark for artist in found]  # type: ignore[attr-defined]


class SeriesLook(NamedTuple):
    color: str
    marker: str


def looks(names: Iterable[str]) -> dict[str, SeriesLook]:
    """A colour and a marker for each name, by alphabet: the same in all figures that are given the
    same names. More than eight begin again with the colours, at another marker."""
    many = len(SERIES)
    return {
        name: SeriesLook(SERIES[i % many], MARKERS[(i + i // many) % len(MARKERS)])
        for i, name in enumerate(sorted(set(names)))
    }


def looks_of(study: Any) -> dict[str, SeriesLook]:
    """The looks of a study's models, by their names."""
    return looks(study.names.values())


@contextmanager
def style(name: str) -> Iterator[None]:
    """The house style; `name` makes the SVG's ids the same each time."""
    import matplotlib

    house = Path(__file__).with_name("house.mplstyle")
    with matplotlib.rc_context(fname=house):
        matplotlib.rcParams["svg.hashsalt"] = name
        yield


def drawn(figure: Figure) -> Drawing:
    """The matplotlib figure; within `style`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Drawing

    drawing = Drawing(figsize=figure.size, dpi=200)
    FigureCanvasAgg(drawing)
    figure.draw(drawing)
    for i, artist in enumerate(drawing.findobj(lambda artist: hasattr(artist, "mark"))):
        artist.set_gid(f"{figure.name}-{i}")
        artist.mark = replace(artist.mark, gid=f"{figure.name}-{i}")  # type: ignore[attr-defined]
    return drawing


def save(figure: Figure, folder: Path, kinds: Sequence[str] = KINDS) -> dict[str, Path]:
    """Write name.pdf, name.png (200 dpi) and name.svg, beside and then renamed; by extension."""
    logging.getLogger("fontTools").setLevel(logging.WARNING)  # it tells every glyph of a PDF
    paths = {kind: folder / f"{figure.name}.{kind}" for kind in kinds}
    with style(figure.name):
        drawing = drawn(figure)
        for kind, path in paths.items():
            with replacing(path) as beside:
                drawing.savefig(beside, format=kind, metadata=NO_DATES[kind])
                if kind == "png":
                    lighten(beside)
    return paths


def lighten(png: Path) -> None:
    """Rewrite a drawing's PNG in 256 colours: half of its bytes, and no difference to the eye."""
    from PIL import Image

    with Image.open(png) as image:
        fewer = image.convert("RGB").quantize(dither=Image.Dither.NONE)
    fewer.save(png, "png", optimize=True)


def svg(figure: Figure) -> str:
    """Make an `<svg>` for a page: no background, text as text, ids that begin with the figure's
    name (but those of its marks, which are their gids), ink as `currentColor` and each model's
    colour as `var(--series-1)` and so on, which fall back on the colours of `SERIES`."""
    file = StringIO()
    with style(figure.name):
        drawing = drawn(figure)
        drawing.savefig(file, format="svg", transparent=True, metadata=NO_DATES["svg"])
    figure.marks = marks_of(drawing)
    text, marks = file.getvalue(), {mark.gid for mark in figure.marks}

    def numbered_id(found: re.Match[str]) -> str:
        """Several SVGs lie in one page, where an id may be used once."""
        before, gid, after = found.groups()
        return found[0] if gid in marks else f"{before}{figure.name}-{gid}{after}"

    # From `<svg` on, without metadata; its style sheet would be the whole page's.
    text = re.sub(
        r"\s*<(metadata|style)\b.*?</\1>", "", text[text.index("<svg") :], flags=re.DOTALL
    )
    text = re.sub(r'(\bid="|xlink:href="#|url\(#)([^")]+)("|\))', numbered_id, text)
    text = re.sub("|".join(VARIABLES), lambda found: VARIABLES[found[0]], text)
    text = text.replace("'DejaVu Sans'", "sans-serif").rstrip()
    label = quoteattr(figure.title)
    lines = "stroke-linejoin: round; stroke-linecap: butt"
    return text.replace("<svg ", f'<svg role="group" aria-label={label} style="{lines}" ', 1)
