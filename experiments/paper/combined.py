"""Tables and figures of levers together: the paper's three parts, and pruning with exit rules."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from eat_lightning.report import columns as col
from eat_lightning.report.figures import INK, SERIES, Figure
from eat_lightning.report.intervals import Interval
from eat_lightning.report.panels import bar, bare_rows, dot
from eat_lightning.report.speed import EXTREMES, Cost, batch_ms, single_ms
from eat_lightning.report.table import Table

from .levers import Cell

ONE: dict[str, Any] = {"against": 1}
ZERO: dict[str, Any] = {"against": 0, "sign": "+"}
HEIGHT = 0.26  # of a bar


def ms_of(time: Cost) -> Any:
    return lambda cell: found.value if (found := time(cell.point.row)) else None


ACCURACY = [col.accuracy(), col.points("points", "Δ accuracy", help=f"all off; {col.PAIRED}")]
WORK = [
    col.number("share", "FLOPs", digits=3, help="counted, as a share of all off"),
    col.number("product", "product", digits=3, help="product of the single shares"),
    col.interval("kept", "saved / product", help=f"1: savings multiply; {col.PAIRED}", **ONE),
]
ABLATION = [
    col.word("parts", "on"),
    *ACCURACY,
    col.field("depth", "depth", 2, "layers run, mean"),
    *WORK,
    col.interval("single", "speed, batch 1", lambda x: x.faster(single_ms), EXTREMES, **ONE),
    col.interval("batch", "speed, batch 32", lambda x: x.faster(batch_ms), EXTREMES, **ONE),
    col.interval("batch_kept", "batch 32 / product", lambda x: x.times_kept(batch_ms), EXTREMES),
]
LEVERS = [col.word("reduction", "tokens", lambda x: x.key[0] or "all"), col.word("rule", "exits")]
TIMES = [
    col.number("ms", "ms", ms_of(single_ms), help="batch 1"),
    col.interval("ms_kept", "speed / product", lambda x: x.times_kept(single_ms), EXTREMES),
    col.number("batch_ms", "ms, batches", ms_of(batch_ms), help="per example, in batches of 32"),
]
TAKEN = [
    col.interval("left", "pruning left", lambda x: x.left(), "of its own saving", **ONE),
    col.interval("place", "at exits' depths", lambda x: x.left(in_place=True), **ONE),
    col.interval("interaction", "interaction", help="points of accuracy", **ZERO),
    col.interval("longer", "long - short", help="points of FLOPs saved", **ZERO),
]


def ablation_table(cells: Sequence[Cell]) -> Table:
    caption = "MiniLM on SST-2, each cell trained separately, compared with none of them."
    return col.table("ablation", "Pruning, window and exits", caption, ABLATION, cells)


def interplay_table(cells: Sequence[Cell]) -> Table:
    caption = "MiniLM on SST-2, one setting of each rule for all reductions."
    columns = [*LEVERS, *ACCURACY, *WORK, *TIMES]
    return col.table("interplay", "Pruning with exits", caption, columns, cells)


def taken_table(cells: Sequence[Cell]) -> Table:
    caption = "Pruning left: saving of pruning with exits, as a share of its saving alone."
    shown = [cell for cell in cells if cell is not cell.off]
    return col.table("taken", "Overlap of pruning and exits", caption, [*LEVERS, *TAKEN], shown)


def facts_of(cells: Sequence[Cell]) -> Iterator[str]:
    pairs = [cell for cell in cells if cell.both]
    kept = [cell.kept for cell in pairs if cell.kept]
    low, high = min(x.value for x in kept), max(x.value for x in kept)
    shown = sum(x.high < 1 for x in kept)
    yield f"both save {low:.2f} to {high:.2f} of the product; below 1 in {shown} of {len(kept)}"
    found = [cell.left() for cell in pairs if cell.key[0] != "power_bert"]
    left = [x.value for x in found if x]
    yield f"of what pruning saves alone {min(left):.2f} to {max(left):.2f} is left beside exits"
    clear = [x for cell in pairs if (x := cell.interaction) and not x.low <= 0 <= x.high]
    yield f"interactions that exclude zero: {len(clear)} of {len(pairs)}"


def ablation_figure(cells: Sequence[Cell]) -> Figure:
    """Left: costs as shares of none; right: accuracy against none."""
    titles = ("FLOPs", "time, batch 1", "time, batch 32", "single shares multiplied")
    colors = (SERIES[1], SERIES[0], SERIES[4])

    def draw(drawing: Any) -> None:
        left, right = drawing.subplots(1, 2, sharey=True, width_ratios=(3, 2))
        for place, cell in enumerate(cells):
            for k, found in enumerate(costs_of(cell)):
                bar(left, place + (k - 1) * HEIGHT, found, HEIGHT, colors[k])
            if product := cell.product:
                y = [place - 1.45 * HEIGHT, place - 0.55 * HEIGHT]
                left.plot([product] * 2, y, color=INK, linewidth=1.6)
            if cell.points and cell.points.interval:
                dot(right, cell.points.interval, place, {"alpha": 1}, color=INK, marker="o")
        for ax, at in ((left, 1), (right, 0)):
            bare_rows(ax, [cell.parts for cell in cells])
            ax.axvline(at, color=INK, linewidth=0.8)
        left.set_xlabel("cost, as a share of that with none of them")
        right.set_xlabel("accuracy compared with none (points)")
        bars: list[Any] = [Patch(color=color) for color in colors]
        drawing.legend([*bars, tick()], titles, loc="outside upper left", ncols=4, handlelength=1.2)

    caption = "Lines: range over repeats, and 95 % intervals of the accuracy."
    return Figure("ablation", "Pruning, window and exits", caption, draw, (7.2, 4.2))


def costs_of(cell: Cell) -> list[Interval]:
    """FLOPs, time at batch 1 and in batches as shares of those with all off."""
    times = [cell.faster(time) or Interval.exact(1.0) for time in (single_ms, batch_ms)]
    return [Interval.exact(cell.share), *(found.inverse for found in times)]


def tick() -> Line2D:
    return Line2D([], [], color=INK, marker="|", linestyle="", markersize=8, mew=1.6)


def interplay_figure(cells: Sequence[Cell]) -> Figure:
    """FLOPs of each lever alone and of both, beside the product."""
    first: dict[str, Cell] = {}  # of heads alone, where another training has the same
    for cell in cells:
        first.setdefault(cell.name, cell)
    rows = sorted(first.values(), key=lambda cell: cell.both)

    def draw(drawing: Any) -> None:
        ax = drawing.add_subplot()
        for place, cell in enumerate(rows):
            dot(ax, cell.share, place, color=color_of(cell), marker="o")
            if product := cell.product:
                ax.plot([product] * 2, [place - 0.35, place + 0.35], color=INK, linewidth=1.6)
        bare_rows(ax, [cell.name for cell in rows])
        ax.set(xlabel="FLOPs, as a share of those with neither", xlim=(0, 1.02))
        drawing.legend([tick()], ["single shares multiplied"], loc="outside upper left")

    caption = "Counted FLOPs of each lever alone and of both; one seed."
    return Figure("interplay", "Pruning with exits", caption, draw, (6.4, 4.8))


def color_of(cell: Cell) -> str:
    if cell.both:
        return SERIES[0]
    return SERIES[1] if cell.key[0] else SERIES[2]
