"""Reliability diagrams: how often each exit is right, by how sure it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from eat_lightning.report.claim import Figure, Mark, Source
from eat_lightning.report.compare import source_of
from eat_lightning.report.figures import MUTED, PAPER
from eat_lightning.report.panels import percent
from eat_lightning.report.passes import Pass
from eat_lightning.report.statistics import Bin
from eat_lightning.report.study import Point

from .head import NUM_BINS, Head, heads_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

RELIABILITY = (
    "Share of right answers against confidence at each exit, {bins} bins of equal width, before "
    "(hollow, grey) and after (filled) the head's temperature, with 95 % Wilson intervals; the "
    "diagonal is perfect calibration. Below, how many of the {n} examples are in each bin "
    "(outlined: before; in numbers: after). Seed {seed}; {split} split, while temperatures were "
    "fitted on a part of train. ECE in percent; calibrated: what a perfectly calibrated model of "
    "these confidences shows at this n by chance."
)


def reliability_figure(found: Pass) -> Figure:
    """A column for each exit, of the first seed."""
    heads = [heads_of(found, layer)[0] for layer in found.layers]
    row = heads[0].measured.row
    caption = RELIABILITY.format(bins=NUM_BINS, n=row.num_examples, seed=row.seed, split=row.split)

    def draw(drawing: Any) -> None:
        shared: dict[str, Any] = {"sharex": True, "sharey": "row", "squeeze": False}
        axes = drawing.subplots(2, len(heads), height_ratios=[3, 1], **shared)
        for head, above, below in zip(heads, *axes, strict=True):
            draw_head(found, head, above, below)
        axes[0, 0].set_ylabel(f"right on {row.task} (%)")
        axes[0, 0].legend(loc="upper left", handletextpad=0.2, borderpad=0)
        axes[1, 0].set_ylabel("examples")
        axes[1, 0].set_yscale("log")
        axes[1, 0].set_ylim(0.7, 5 * row.num_examples)
        axes[1, 0].yaxis.set_major_formatter("{x:g}")
        axes[1, 0].minorticks_off()

    source = source_of(Point([heads[0].measured]))
    marks = [mark for head in heads for mark in bin_marks(found, head, source)]
    name, title = f"reliability-{found.slug}", f"Reliability on {row.task}: {found.name}"
    return Figure(name, title, caption, draw, (1.0 + 2.1 * len(heads), 3.7), marks)


def sides(head: Head) -> dict[str, list[Bin]]:
    return {"before": head.bins(head.before_BC), "after": head.bins(head.after_BC)}


def gid(found: Pass, head: Head, when: str, index: int) -> str:
    return f"reliability-{found.slug}-{head.layer}-{when}-{index}"


def draw_head(found: Pass, head: Head, above: Axes, below: Axes) -> None:
    shown = sides(head)
    above.plot([0, 100], [0, 100], color=MUTED, linewidth=0.8, linestyle=":", zorder=1)
    above.set_xlim(100 * min(bins[0].low for bins in shown.values()) - 1, 101)
    above.set_ylim(0, 102)
    above.set_title(title_of(found, head))
    corner: dict[str, Any] = {"ha": "right", "va": "bottom", "fontsize": 6.5}
    above.text(0.98, 0.02, ece_text(head), transform=above.transAxes, **corner)
    for when, bins in shown.items():
        color = found.look.color if when == "after" else MUTED
        for index, each in enumerate(bins):
            label = when if index == 0 else None
            draw_bin(above, each, color, label, gid(found, head, when, index), when == "after")
        draw_counts(below, bins, color, when == "after")
    write_counts(below, shown)
    below.set_xlabel("confidence (%)")
    below.grid(False)


def title_of(found: Pass, head: Head) -> str:
    last = " (last)" if head.layer == found.row.num_layers else ""
    fitted = head.temperature
    return f"layer {head.layer}{last}" + (f", T {fitted:.2f}" if fitted else "")


def ece_text(head: Head) -> str:
    values, chance = head.values, head.chance
    return (
        f"ECE {values['ece_before']:.1f} before, {values['ece_after']:.1f} after\n"
        f"calibrated {chance.value:.1f} ({chance.low:.1f} to {chance.high:.1f})"
    )


def draw_bin(ax: Axes, each: Bin, color: str, label: str | None, name: str, filled: bool) -> None:
    x, y = 100 * each.confidence, each.accuracy.times(100)
    ax.plot([x, x], [y.low, y.high], color=color, linewidth=0.9, alpha=0.5, zorder=2 + filled)
    style: dict[str, Any] = {"markersize": 4.5, "linestyle": "", "zorder": 3 + filled}
    style |= {"marker": "o" if filled else "s", "markerfacecolor": color if filled else PAPER}
    (mark,) = ax.plot(x, y.value, color=color, label=label, **style)
    mark.set_gid(name)


def draw_counts(ax: Axes, bins: Sequence[Bin], color: str, filled: bool) -> None:
    look: dict[str, Any] = (
        {"color": color, "alpha": 0.45}
        if filled
        else {"facecolor": "none", "edgecolor": color, "linewidth": 0.8}
    )
    left, width = [100 * each.low for each in bins], [100 * (each.high - each.low) for each in bins]
    ax.bar(left, [each.n for each in bins], width=width, align="edge", **look)


def write_counts(ax: Axes, shown: dict[str, list[Bin]]) -> None:
    """Of the bins after, above the higher bar."""
    before = {each.low: each.n for each in shown["before"]}
    for each in shown["after"]:
        at = 50 * (each.low + each.high), 1.15 * max(each.n, before.get(each.low, 0))
        ax.text(*at, str(each.n), ha="center", va="bottom", fontsize=5.5)


def bin_marks(found: Pass, head: Head, source: Source) -> list[Mark]:
    return [
        Mark(
            gid(found, head, when, index),
            f"{found.name}, layer {head.layer}, {when} its temperature",
            (
                ("confidence", f"{100 * each.confidence:.1f} %"),
                ("right", percent(each.accuracy)),
                ("examples", str(each.n)),
                ("bin", f"{100 * each.low:.1f} to {100 * each.high:.1f} %"),
                ("seed", str(head.measured.row.seed)),
            ),
            source,
        )
        for when, bins in sides(head).items()
        for index, each in enumerate(bins)
    ]
