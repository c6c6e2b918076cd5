"""Growth as a figure: every axis, with its fitted lines and the paper's slopes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from eat_lightning.bench.scaling.rows import GrowthRow
from eat_lightning.bench.scaling.show import MIB, where
from eat_lightning.bench.scaling.targets import Curve, curves_of
from eat_lightning.report.claim import Figure
from eat_lightning.report.figures import MUTED, looks

PANELS = (  # axis, what of it, and how both are called
    ("length", "ms", "tokens of a text", "ms"),
    ("length", "peak_bytes", "tokens of a text", "MiB alive at once"),
    ("batch", "ms", "texts of a batch", "ms"),
    ("layers run", "ms", "layers run", "ms"),
    ("heads", "ms", "exit heads asked", "ms"),
    ("retention", "ms", "retention, mean over layers", "ms"),
)


def figure_of(rows: Sequence[GrowthRow]) -> Figure:
    curves = curves_of(rows)
    of_name = looks({curve.contestant for curve in curves})

    def draw(drawing: Any) -> None:
        axes = drawing.subplots(2, 3).flat
        for ax, (axis, what, xlabel, ylabel) in zip(axes, PANELS, strict=True):
            own = [c for c in curves if (c.axis, c.what) == (axis, what)]
            for curve in own:
                line(ax, curve, of_name[curve.contestant], what, beneath(curve, own))
            slopes(ax, own, what)
            ax.set(xscale="log", yscale="log", xlabel=xlabel, ylabel=ylabel)
            plain_ticks(ax, own)
            wide_enough(ax)
        handles = {h.get_label(): h for ax in drawing.axes for h in ax.lines}
        named = {name: handles[name] for name in of_name if name in handles}
        drawing.legend(named.values(), named, loc="outside upper left", ncols=5, handlelength=1.5)

    caption = (
        f"{where(rows)} Solid: least squares through the logarithms, with the exponents beside. "
        "Dotted: the exponents of the paper's Proposition 1, through the last point. Memory: "
        "tensors alive at once, weights apart."
    )
    return Figure("growth", "Growth of time and memory", caption, draw, (8.6, 5.2))


def scaled(y: float, what: str) -> float:
    return y / MIB if what == "peak_bytes" else y


def beneath(curve: Curve, others: Sequence[Curve]) -> bool:
    """Whether another curve ends within a third above this one's end, where its exponent stands."""

    def end(of: Curve) -> tuple[float, float]:
        return max(zip(of.x, of.y, strict=True))

    x, y = end(curve)
    return any(end(c)[0] == x and y < end(c)[1] < y * 4 / 3 for c in others)


def line(ax: Any, curve: Curve, look: Any, what: str, low: bool = False) -> None:
    ends = [min(curve.x), max(curve.x)]
    y = [scaled(value, what) for value in curve.y]
    ax.plot(curve.x, y, look.marker, color=look.color, markersize=3.5)
    fitted = [scaled(curve.fitted.at(x), what) for x in ends]
    ax.plot(ends, fitted, look.marker + "-", color=look.color, markersize=0, linewidth=1.0)
    ax.plot([], [], look.marker + "-", color=look.color, markersize=3.5, label=curve.contestant)
    last = max(range(len(curve.x)), key=lambda i: curve.x[i])
    ax.annotate(
        f"{curve.fitted.value:.2f}",
        (curve.x[last], y[last]),
        xytext=(5, -2 if low else 0),
        textcoords="offset points",
        color=look.color,
        va="top" if low else "center",
        fontsize=7,
    )


def slopes(ax: Any, curves: Sequence[Curve], what: str) -> None:
    """What the paper's exponents would be, through each curve's last point."""
    for curve in curves:
        if curve.paper:
            first, last = min(curve.x), max(curve.x)
            y = scaled(curve.y[curve.x.index(last)], what)
            back = y * (first / last) ** float(curve.paper)
            ax.plot([first, last], [back, y], ":", color=MUTED, linewidth=0.8)


def wide_enough(ax: Any) -> None:
    """At least a factor of four up and down, so that noise looks as small as it is."""
    low, high = ax.get_ylim()
    if high / low < 4:
        middle = (low * high) ** 0.5
        ax.set_ylim(middle / 2, middle * 2)


def plain_ticks(ax: Any, curves: Sequence[Curve]) -> None:
    """The measured places of x, where they are few, and numbers instead of powers."""
    from matplotlib.ticker import LogFormatter, NullLocator

    places = sorted({x for curve in curves for x in curve.x})
    ax.set_xticks(places, [f"{x / 1024:g}k" if x % 1024 == 0 else f"{x:.3g}" for x in places])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.yaxis.set_major_formatter("{x:g}")
    ax.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(1.0, 0.4)))
    ax.margins(x=0.14)
