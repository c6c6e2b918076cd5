"""The bench as tables and as a roofline (Williams et al. 2009)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from eat_lightning.bench.speed.rows import ELEMENT, BenchRow
from eat_lightning.report.claim import Cell, Column, Figure, Line, Source, Table
from eat_lightning.report.figures import INK, SERIES

RIVALS = "over others"
COMMAND = "python -m eat_lightning.bench"
OURS = "over our static encoder"
MACHINE = "what the machine can do"
STYLES, MARKS = ("-", "--", ":"), "os^D"
FIRST = [
    Column("weights", "weights", numeric=False),
    Column("task", "task", numeric=False),
    Column("batch", "batch"),
    Column("order", "order", "batches as they come, or sorted by length", numeric=False),
    Column("contestant", "contestant", numeric=False),
    Column("dtype", "dtype", numeric=False),
    Column("layers", "layers"),
    Column("depth", "depth", "layers that an example ran"),
    Column("padding", "padding", "padded tokens / real tokens"),
    Column("ms", "ms", "an example, mean over examples, median of the repeats (an interval of it)"),
]
LAST = [
    Column("flops_ratio", "FLOPs ratio", "of as many layers", group=OURS),
    Column("speed_up", "speed-up", "its time / this one's (an interval)", group=OURS),
    Column("conversion", "conversion", "speed-up x FLOPs ratio", group=OURS),
    Column("peak", "peak", "FLOPs on real tokens a second / the ceiling", group=MACHINE),
    Column("distance", "distance", "time / what the ceilings allow", group=MACHINE),
]


def table_of(rows: Sequence[BenchRow], race: str) -> Table:
    chosen = [row for row in rows if row.race == race]
    first = chosen[0]
    caption = (
        f"Width {first.width}, lengths of real dev sentences, "
        f"{first.threads} thread{'s' * (first.threads > 1)} of {first.machine or 'a processor'}; "
        f"contestants by turns. Ceilings: {'; '.join(ceilings_of(chosen).values())}."
    )
    labels = dict.fromkeys(label for row in chosen for label in row.over)
    help = "its time / this one's (an interval)"
    middle = [Column(f"over {k}", f"over {k}", help, group=RIVALS) for k in labels]
    lines = [Line(cells(row), Source((), COMMAND, (row.commit,))) for row in chosen]
    return Table(f"bench-{race}", f"Bench, {race}", caption, [*FIRST, *middle, *LAST], lines)


def ceilings_of(rows: Sequence[BenchRow]) -> dict[str, str]:
    """By dtype, as last measured."""
    last = {row.dtype: row for row in rows}
    return {
        dtype: f"{dtype} {row.gflops_ceiling:.0f} GFLOP/s, {row.gbytes_ceiling:.1f} GB/s"
        for dtype, row in last.items()
    }


def cells(row: BenchRow) -> dict[str, Cell]:
    def ranged(value: float, low: float, high: float) -> Cell:
        return Cell(value, f"{value:.2f} ({low:.2f} to {high:.2f})", low, high)

    same = ("weights", "task", "batch", "order", "contestant", "dtype")
    return {
        **{key: Cell(getattr(row, key), str(getattr(row, key))) for key in same},
        "layers": Cell(row.num_layers, str(row.num_layers)),
        "depth": Cell(row.depth, f"{row.depth:.2f}"),
        "padding": Cell(row.padding_factor, f"{row.padding_factor:.2f}"),
        "ms": ranged(row.ms, row.ms_low, row.ms_high),
        **{f"over {label}": ranged(*ratio) for label, ratio in row.over.items()},
        "speed_up": ranged(row.speed_up, row.speed_up_low, row.speed_up_high),
        "flops_ratio": Cell(row.flops_ratio, f"{row.flops_ratio:.3f}"),
        "conversion": Cell(row.conversion, f"{row.conversion:.2f}"),
        "peak": Cell(row.peak_share, f"{row.peak_share:.2f}"),
        "distance": Cell(row.distance, f"{row.distance:.2f}"),
    }


def roofline(rows: Sequence[BenchRow], race: str) -> Figure:
    """Each row at its FLOPs for a byte of weights read, and at the rate it reached; a line for each
    dtype."""
    chosen = [row for row in rows if row.race == race]
    names = list(dict.fromkeys(row.contestant for row in chosen))
    bounds = {row.dtype: (row.gflops_ceiling, row.gbytes_ceiling) for row in chosen}

    def intensity(row: BenchRow) -> float:
        matrices = row.width * 12 * row.width * ELEMENT[row.dtype]  # inner width 4 x
        return row.flops * row.batch / (matrices * row.depth)

    def draw(drawing: Any) -> None:
        ax = drawing.subplots()
        ends = [min(map(intensity, chosen)) / 2, max(map(intensity, chosen)) * 2]
        for style, (dtype, (gflops, gbytes)) in zip(STYLES, bounds.items(), strict=False):
            places = sorted({*ends, min(max(gflops / gbytes, ends[0]), ends[1])})
            heights = [min(gflops, gbytes * x) for x in places]
            ax.plot(places, heights, style, color=INK, linewidth=1)
            if len(bounds) > 1:
                ax.text(places[-1], heights[-1], dtype, ha="right", va="bottom", color=INK)
        for i, name in enumerate(names):
            own = [row for row in chosen if row.contestant == name]
            reached = [row.flops / row.ms / 1e6 for row in own]
            mark = MARKS[i // len(SERIES) % len(MARKS)]
            color = SERIES[i % len(SERIES)]
            ax.plot(list(map(intensity, own)), reached, mark, color=color, label=name, markersize=4)
        ax.set(xscale="log", yscale="log")
        for formatter in (ax.yaxis.set_major_formatter, ax.yaxis.set_minor_formatter):
            formatter("{x:g}")
        ax.set_xlabel("FLOPs for each byte of weights")
        ax.set_ylabel("GFLOP/s, on real tokens")
        drawing.legend(loc="outside upper left", ncols=4, handlelength=1.0)

    said = "; ".join(ceilings_of(chosen).values())
    caption = (
        f"Lines: what the machine can do in matrix products and in reading weights ({said}). A "
        "point: a contestant on one task, batch and order."
    )
    return Figure(f"roofline-{race}", f"Roofline, {race}", caption, draw, (6.5, 4.2))
