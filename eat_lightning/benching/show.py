"""The bench as tables and as a roofline (Williams et al. 2009)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from eat_lightning.benching.rows import BenchRow
from eat_lightning.reporting.claim import Cell, Column, Figure, Line, Source, Table
from eat_lightning.reporting.figures import INK, SERIES

THEIRS = "over Hugging Face"
OURS = "over our static encoder"
MACHINE = "what the machine can do"
COLUMNS = [
    Column("task", "task", numeric=False),
    Column("batch", "batch"),
    Column("order", "order", "batches as they come, or sorted by length", numeric=False),
    Column("contestant", "contestant", numeric=False),
    Column("layers", "layers"),
    Column("padding", "padding", "padded tokens / real tokens"),
    Column("ms", "ms", "an example, mean over examples (over repeats)"),
    Column("over_bert", "over BERT", "its time / this one's (over repeats)", group=THEIRS),
    Column("over_distilbert", "over DistilBERT", "the same of DistilBERT", group=THEIRS),
    Column("flops_ratio", "FLOPs ratio", "of as many layers", group=OURS),
    Column("speed_up", "speed-up", "its time / this one's (over repeats)", group=OURS),
    Column("conversion", "conversion", "speed-up x FLOPs ratio", group=OURS),
    Column("peak", "peak", "FLOPs on real tokens a second / the ceiling", group=MACHINE),
    Column("distance", "distance", "time / what the ceilings allow", group=MACHINE),
]


def table_of(rows: Sequence[BenchRow], dtype: str) -> Table:
    chosen = [row for row in rows if row.dtype == dtype]
    first = chosen[0]
    caption = (
        f"Random weights of width {first.width}, lengths of real dev sentences; {dtype}, "
        f"{first.threads} thread{'s' * (first.threads > 1)} of {first.machine or 'a processor'}; "
        "contestants by turns. Ceilings: "
        f"{first.gflops_ceiling:.0f} GFLOP/s, {first.gbytes_ceiling:.1f} GB/s."
    )
    lines = [Line(cells(row), Source((), "python -m eat_lightning.bench")) for row in chosen]
    return Table(f"bench-{dtype}", f"Bench, {dtype}", caption, COLUMNS, lines)


def cells(row: BenchRow) -> dict[str, Cell]:
    def ranged(name: str, digits: int = 2) -> Cell:
        value, low, high = (getattr(row, name + end) for end in ("", "_low", "_high"))
        text = f"{value:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"
        return Cell(value, text, low, high)

    return {
        **{key: Cell(getattr(row, key), str(getattr(row, key))) for key in ("task", "batch")},
        "order": Cell(row.order, row.order),
        "contestant": Cell(row.contestant, row.contestant),
        "layers": Cell(row.num_layers, str(row.num_layers)),
        "padding": Cell(row.padding_factor, f"{row.padding_factor:.2f}"),
        "ms": ranged("ms"),
        **{key: ranged(key) for key in ("over_bert", "over_distilbert", "speed_up")},
        "flops_ratio": Cell(row.flops_ratio, f"{row.flops_ratio:.3f}"),
        "conversion": Cell(row.conversion, f"{row.conversion:.2f}"),
        "peak": Cell(row.peak_share, f"{row.peak_share:.2f}"),
        "distance": Cell(row.distance, f"{row.distance:.2f}"),
    }


def roofline(rows: Sequence[BenchRow], dtype: str) -> Figure:
    """Each row at its FLOPs for a byte of weights read, and at the rate it reached."""
    chosen = [row for row in rows if row.dtype == dtype]
    gflops, gbytes = chosen[0].gflops_ceiling, chosen[0].gbytes_ceiling
    names = list(dict.fromkeys(row.contestant for row in chosen))

    def intensity(row: BenchRow) -> float:
        element = 2 if row.dtype == "bf16" else 4
        matrices = row.width * 12 * row.width * element  # of a layer whose inner width is 4 x
        return row.flops * row.batch / (matrices * row.depth)

    def draw(drawing: Any) -> None:
        ax = drawing.subplots()
        ends = [min(map(intensity, chosen)) / 2, max(map(intensity, chosen)) * 2]
        corner = gflops / gbytes
        places = sorted({*ends, min(max(corner, ends[0]), ends[1])})
        ax.plot(places, [min(gflops, gbytes * x) for x in places], color=INK, linewidth=1)
        for i, name in enumerate(names):
            own = [row for row in chosen if row.contestant == name]
            reached = [row.flops / row.ms / 1e6 for row in own]
            color = SERIES[i % len(SERIES)]
            ax.plot(list(map(intensity, own)), reached, "o", color=color, label=name, markersize=4)
        ax.set(xscale="log", yscale="log")
        for formatter in (ax.yaxis.set_major_formatter, ax.yaxis.set_minor_formatter):
            formatter("{x:g}")
        ax.set_xlabel("FLOPs for each byte of weights")
        ax.set_ylabel("GFLOP/s, on real tokens")
        drawing.legend(loc="outside upper left", ncols=4, handlelength=1.0)

    caption = (
        f"Line: what the machine can do in {dtype}, {gflops:.0f} GFLOP/s in matrix products or "
        f"{gbytes:.1f} GB/s of weights read. A point: a contestant on one task, batch and order."
    )
    return Figure(f"roofline-{dtype}", f"Roofline, {dtype}", caption, draw, (6.5, 4.2))
