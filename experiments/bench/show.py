"""The bench as tables and as a roofline (Williams et al. 2009)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING

from eat_lightning.report.figures import INK, SERIES
from experiments.bench.ceilings import Ceilings
from experiments.bench.rows import ELEMENT, BenchRow
from experiments.bench.tables import constants_above, draw, ranged, write_report

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

WITHOUT_ROOFLINE = ("cost", "training", "compiled")
COLUMNS = """\
A ratio is a median over the repeats, in which all took turns, and an interval of it.

* depth: layers that an example ran; padding: padded tokens / real tokens
* ms: an example, mean over examples
* over X: X's time / this one's
* speed-up, FLOPs ratio, conversion (their product): against our static encoder of as many layers
* peak: FLOPs on real tokens a second / the ceiling; distance: time / what the ceilings allow"""


def report(rows: Sequence[BenchRow], folder: Path) -> None:
    """Write report.md and the rooflines anew, of all rows that are there."""
    parts = [COLUMNS]
    for race in dict.fromkeys(row.race for row in rows):
        chosen = [row for row in rows if row.race == race]
        parts += [f"## {race}", caption(chosen), constants_above(table_of(chosen))]
        if not race.startswith(WITHOUT_ROOFLINE):
            path = folder / f"roofline-{race}.svg"
            parts += [
                draw(path, (6.5, 4.2), partial(roofline, rows=chosen)),
                f"Lines: what the machine can do in matrix products and in reading weights "
                f"({'; '.join(ceilings_of(chosen))}). A point: a candidate on one task, batch and "
                "order.",
            ]
    write_report(folder / "report.md", "Bench", parts)


def caption(rows: Sequence[BenchRow]) -> str:
    first = rows[0]
    return (
        f"Width {first.width}, {first.threads} thread{'s' * (first.threads > 1)} of "
        f"{first.machine or 'a processor'}; candidates by turns; lengths: "
        f"{', '.join(sorted({row.lengths for row in rows}))}. "
        f"Ceilings: {'; '.join(ceilings_of(rows))}."
    )


def ceilings_of(rows: Sequence[BenchRow]) -> list[str]:
    """The ceilings by dtype, as last measured."""
    last = {row.dtype: Ceilings(row.gflops_ceiling, row.gbytes_ceiling) for row in rows}
    return [f"{dtype} {bound}" for dtype, bound in last.items()]


def table_of(rows: Sequence[BenchRow]) -> DataFrame:
    from pandas import DataFrame

    return DataFrame([cells(row) for row in rows])


def cells(row: BenchRow) -> dict[str, str | int]:
    names = ("weights", "task", "batch", "order", "candidate", "dtype")
    return {
        **{name: getattr(row, name) for name in names},
        "layers": row.num_layers,
        "depth": f"{row.depth:.2f}",
        "padding": f"{row.padding_factor:.2f}",
        "ms": ranged(row.ms),
        **{f"over {label}": ranged(ratio) for label, ratio in row.over.items()},
        "speed-up": ranged(row.speed_up),
        "FLOPs ratio": f"{row.flops_ratio:.3f}",
        "conversion": f"{row.conversion[0]:.2f}",
        "peak": f"{row.peak_share[0]:.2f}",
        "distance": f"{row.distance:.2f}",
    }


def roofline(figure: Figure, rows: Sequence[BenchRow]) -> None:
    """Each row at its FLOPs for a byte of weights read, and at the rate it reached; a line for each
    dtype."""

    def intensity(row: BenchRow) -> float:
        matrices = row.width * 12 * row.width * ELEMENT[row.dtype]  # inner width 4 x
        return row.flops * row.batch / (matrices * row.depth)

    ax = figure.subplots()
    ends = [min(map(intensity, rows)) / 2, max(map(intensity, rows)) * 2]
    bounds = {row.dtype: (row.gflops_ceiling, row.gbytes_ceiling) for row in rows}
    for style, (dtype, (gflops, gbytes)) in zip(cycle(("-", "--", ":")), bounds.items()):
        places = sorted({*ends, min(max(gflops / gbytes, ends[0]), ends[1])})
        heights = [min(gflops, gbytes * x) for x in places]
        ax.plot(places, heights, style, color=INK, linewidth=1)
        if len(bounds) > 1:
            ax.text(places[-1], heights[-1], dtype, ha="right", va="bottom", color=INK)
    for i, name in enumerate(dict.fromkeys(row.candidate for row in rows)):
        own = [row for row in rows if row.candidate == name]
        reached = [row.flops / row.ms[0] / 1e6 for row in own]
        mark, color = "os^D"[i // len(SERIES) % 4], SERIES[i % len(SERIES)]
        ax.plot([*map(intensity, own)], reached, mark, color=color, label=name, markersize=4)
    ax.set(xscale="log", yscale="log")
    for formatter in (ax.yaxis.set_major_formatter, ax.yaxis.set_minor_formatter):
        formatter("{x:g}")
    ax.set(xlabel="FLOPs for each byte of weights", ylabel="GFLOP/s, on real tokens")
    figure.legend(loc="outside upper left", ncols=4, handlelength=1.0)
