"""Scaling as tables, and as a figure of every axis with its fitted lines and the paper's slopes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from eat_lightning.report.figures import MUTED, looks
from experiments.bench.tables import draw, markdown, write_report
from experiments.scaling.fit import (
    Curve,
    Rows,
    curves_of,
    exponent,
    lengths_of,
    ratios,
    spread,
)
from experiments.scaling.points import PRUNED
from experiments.scaling.rows import ScalingRow

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

MIB = 1 << 20
UNITS = {"ms": "time", "peak_bytes": "memory"}
PANELS = (  # axis, what of it, and how both are called
    ("length", "ms", "tokens of a text", "ms"),
    ("length", "peak_bytes", "tokens of a text", "MiB alive at once"),
    ("batch", "ms", "texts of a batch", "ms"),
    ("layers run", "ms", "layers run", "ms"),
    ("heads", "ms", "exit heads asked", "ms"),
    ("retention", "ms", "retention, mean over layers", "ms"),
)
EXPONENTS = """\
Slopes of the logarithms, least squares, with the 95 % interval. The paper's cost (Proposition 1) of
a window is linear in T, in the layers run and in retention, that of dense attention quadratic in
large T; it leaves out heads and embeddings."""
FIGURE = """\
Solid: least squares through the logarithms, whose exponents stand in the legends. Dotted: those of
the paper's Proposition 1, through the last point. Memory: tensors alive at once, weights apart."""


def report(rows: Sequence[ScalingRow], folder: Path) -> dict[str, DataFrame]:
    """Write report.md and the figure; return the tables by title."""
    tables = {
        "Time, ms of a pass (products: of all layers, alone)": by_length(
            rows, lambda at: {name: spread(np.array(row.ms_R)) for name, row in at.items()}
        ),
        "Against the dense encoder": by_length(
            rows, lambda at: {what: spread(value_R) for what, value_R in ratios(at).items()}
        ),
        "Memory, MiB alive at once": by_length(
            rows, lambda at: {name: f"{row.peak_bytes / MIB:,.1f}" for name, row in at.items()}
        ),
        "Exponents": exponents_table(rows),
        f"Time by operator, ms: {PRUNED}": operators_table(rows),
    }
    image = draw(folder / "scaling.svg", (9.0, 6.8), partial(fill, rows=rows))
    parts = [where(rows), image, FIGURE]
    for title, table in tables.items():
        parts += [f"## {title}", *([EXPONENTS] if title == "Exponents" else []), markdown(table)]
    write_report(folder / "report.md", "How time and memory grow", parts)
    return tables


def where(rows: Sequence[ScalingRow]) -> str:
    first = rows[0]
    return (
        f"{first.num_layers} layers of width {first.width}, window {first.window} and a global "
        f"[CLS], pruning {first.ratio:g} twice, random weights; {first.dtype}, {first.threads} "
        f"thread{'s' * (first.threads > 1)} of {first.machine or 'a processor'}; medians of "
        f"{len(first.ms_R)} repeats by turns, and the lowest and highest."
    )


def by_length(rows: Sequence[ScalingRow], cells: Callable[[Rows], dict[str, str]]) -> DataFrame:
    """A line for each length. cells: of its rows, by candidate."""
    from pandas import DataFrame

    return DataFrame([{"T": f"{T:,}", **cells(at)} for T, at in lengths_of(rows).items()])


def exponents_table(rows: Sequence[ScalingRow]) -> DataFrame:
    from pandas import DataFrame

    return DataFrame(
        {
            "with": curve.axis,
            "candidate": curve.candidate,
            "from … to": f"{min(curve.x):.3g} … {max(curve.x):.5g}",
            "of": UNITS[curve.what],
            "exponent": str(curve.fitted),
            "Proposition 1": "" if curve.paper is None else str(curve.paper),
        }
        for curve in curves_of(rows)
    )


def operators_table(rows: Sequence[ScalingRow]) -> DataFrame:
    """Operators on the longest text, and how each grows over the lengths at which it took 1 %
    of the time."""
    from pandas import DataFrame

    own = sorted((row for row in rows if row.operators), key=lambda row: row.length)
    longest, lines = own[-1].operators, []
    for name in sorted(longest, key=lambda name: -longest[name]):
        ms = {row.length: row.operators[name] for row in own if name in row.operators}
        grows = str(exponent([*ms], [*ms.values()])) if len(ms) > 1 else ""
        cells = {f"{length:,}": f"{value:,.1f}" for length, value in ms.items()}
        lines.append({"operator": name.removeprefix("aten::"), "exponent": grows, **cells})
    return DataFrame(lines)


def fill(figure: Figure, rows: Sequence[ScalingRow]) -> None:
    curves = curves_of(rows)
    of_name = looks({curve.candidate for curve in curves})
    axes: Any = figure.subplots(2, 3)
    for ax, (axis, what, xlabel, ylabel) in zip(axes.flat, PANELS, strict=True):
        own = [c for c in curves if (c.axis, c.what) == (axis, what)]
        for curve in own:
            line(ax, curve, of_name[curve.candidate], MIB if what == "peak_bytes" else 1)
        ax.set(xscale="log", yscale="log", xlabel=xlabel, ylabel=ylabel)
        crowded: Any = {"ncols": 2, "fontsize": 5.5, "columnspacing": 0.8} if len(own) > 8 else {}
        ax.legend(loc="lower left", bbox_to_anchor=(0, 1), handlelength=1.0, **crowded)
        scale(ax, sorted({x for curve in own for x in curve.x}))


def line(ax: Any, curve: Curve, look: Any, unit: int) -> None:
    """Draw points, the fitted line, and the paper's slope through the last point."""
    first, last = min(curve.x), max(curve.x)
    label = f"{curve.candidate}: {curve.fitted.value:.2f}"
    fitted = [curve.fitted.at(x) / unit for x in (first, last)]
    y = [value / unit for value in curve.y]
    ax.plot([first, last], fitted, "-", color=look.color, linewidth=1.0)
    ax.plot(curve.x, y, look.marker, color=look.color, markersize=3.5, label=label)
    if curve.paper is not None:
        end = y[curve.x.index(last)]
        back = end * (first / last) ** curve.paper
        ax.plot([first, last], [back, end], ":", color=MUTED, linewidth=0.8)


def scale(ax: Any, places: Sequence[float]) -> None:
    """Set ticks at the measured places of x, numbers instead of powers, and at least a factor of
    four up and down, so that noise looks as small as it is."""
    from matplotlib.ticker import LogFormatter, NullLocator

    ax.set_xticks(places, [f"{x / 1024:g}k" if x % 1024 == 0 else f"{x:.3g}" for x in places])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.yaxis.set_major_formatter("{x:g}")
    ax.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(1.0, 0.4)))
    low, high = ax.get_ylim()
    if high / low < 4:
        middle = (low * high) ** 0.5
        ax.set_ylim(middle / 2, middle * 2)
