"""The house style of figures: one look per model, labels that do not overlap, PDF, PNG and SVG.

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
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing
    from matplotlib.text import Text
    from matplotlib.transforms import Bbox

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
    """What a person reads who points at a mark: the artist with gid `gid` in the figure's SVG."""

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


class Look(NamedTuple):
    color: str
    marker: str


def looks(names: Iterable[str]) -> dict[str, Look]:
    """A colour and a marker for each name, by alphabet: the same in all figures that are given the
    same names. More than eight begin again with the colours, at another marker."""
    many = len(SERIES)
    return {
        name: Look(SERIES[i % many], MARKERS[(i + i // many) % len(MARKERS)])
        for i, name in enumerate(sorted(set(names)))
    }


def looks_of(study: Any) -> dict[str, Look]:
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

    def own_id(found: re.Match[str]) -> str:
        """Several SVGs lie in one page, where an id may be used once."""
        before, gid, after = found.groups()
        return found[0] if gid in marks else f"{before}{figure.name}-{gid}{after}"

    # From `<svg` on, without metadata; its style sheet would be the whole page's.
    text = re.sub(
        r"\s*<(metadata|style)\b.*?</\1>", "", text[text.index("<svg") :], flags=re.DOTALL
    )
    text = re.sub(r'(\bid="|xlink:href="#|url\(#)([^")]+)("|\))', own_id, text)
    text = re.sub("|".join(VARIABLES), lambda found: VARIABLES[found[0]], text)
    text = text.replace("'DejaVu Sans'", "sans-serif").rstrip()
    label = quoteattr(figure.title)
    lines = "stroke-linejoin: round; stroke-linecap: butt"
    return text.replace("<svg ", f'<svg role="group" aria-label={label} style="{lines}" ', 1)


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
    """Where the texts are, in display units."""
    return [text.get_window_extent() for text in texts]


def part(ax: Axes, texts: Sequence[Text], tries: int = 200) -> None:
    """What still overlaps, or stands in one line without a gap, is moved apart upwards and
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
    """Which boxes share an area."""
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
    """How far two places in the data are from each other on paper, in points."""
    (x0, y0), (x1, y1) = ax.transData.transform([one, other])
    return float(((x1 - x0) ** 2 + (y1 - y0) ** 2) ** 0.5) * 72 / ax.figure.dpi
