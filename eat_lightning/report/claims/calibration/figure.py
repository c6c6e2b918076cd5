"""Reliability diagrams: accuracy of each exit against its confidence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from eat_lightning.report.claims.calibration.metrics import BINS, Head
from eat_lightning.report.figures import MUTED, PAPER, Figure
from eat_lightning.report.panels import dot
from eat_lightning.report.passes import Pass

RELIABILITY = (
    "Accuracy against confidence at each exit, {bins} bins of equal width, before (hollow, "
    "grey) and after (filled) the head's temperature, with 95 % Wilson intervals; the diagonal "
    "is perfect calibration. Below, how many of the {n} examples are in each bin (outlined: "
    "before; in numbers: after). Seed {seed}; {split} split, while temperatures were fitted on "
    "a part of train. ECE in percent; calibrated: what a perfectly calibrated model of these "
    "confidences shows at this n by chance."
)


def reliability_figure(found: Pass, heads: Sequence[Head]) -> Figure:
    """Return a figure of one seed with a column for each exit."""
    row = heads[0].measured.row
    caption = RELIABILITY.format(bins=BINS, n=row.num_examples, seed=row.seed, split=row.split)

    def draw(drawing: Any) -> None:
        shared: dict[str, Any] = {"sharex": True, "sharey": "row", "squeeze": False}
        axes = drawing.subplots(2, len(heads), height_ratios=[3, 1], **shared)
        for head, above, below in zip(heads, *axes, strict=True):
            draw_reliability(found, head, above)
            draw_counts(found, head, below)
        axes[0, 0].set_ylabel(f"right on {row.task} (%)")
        axes[0, 0].legend(loc="upper left", handletextpad=0.2, borderpad=0)
        axes[1, 0].set(ylabel="examples", yscale="log", ylim=(0.7, 5 * row.num_examples))
        axes[1, 0].yaxis.set_major_formatter("{x:g}")
        axes[1, 0].minorticks_off()

    name, title = f"reliability-{found.slug}", f"Reliability on {row.task}: {found.name}"
    return Figure(name, title, caption, draw, (1.0 + 2.1 * len(heads), 3.7))


def draw_reliability(found: Pass, head: Head, ax: Any) -> None:
    ax.plot([0, 100], [0, 100], color=MUTED, linewidth=0.8, linestyle=":", zorder=1)
    ax.set_xlim(100 * min(bins[0].low for bins in head.bins.values()) - 1, 101)
    ax.set_ylim(0, 102)
    last = " (last)" if head.layer == found.row.num_layers else ""
    fitted = f", T {head.temperature:.2f}" if head.temperature else ""
    ax.set_title(f"layer {head.layer}{last}{fitted}")
    before, after = (head.values[f"ece_{when}"] for when in ("before", "after"))
    text = f"ECE {before:.1f} before, {after:.1f} after\ncalibrated {head.chance.text(1)}"
    ax.text(0.98, 0.02, text, transform=ax.transAxes, ha="right", va="bottom", fontsize=6.5)
    for when in head.bins:
        draw_bins(found, head, when, ax)


def draw_bins(found: Pass, head: Head, when: str, ax: Any) -> None:
    """Draw a mark for each bin, before or after the temperature."""
    color, marker = (found.look.color, "o") if when == "after" else (MUTED, "s")
    face = color if when == "after" else PAPER
    look = {"color": color, "marker": marker, "markerfacecolor": face, "mew": 1}
    ax.plot([], [], linestyle="", markersize=4.5, label=when, **look)
    for each in head.bins[when]:
        dot(ax, 100 * each.confidence, each.accuracy.times(100), **look)


def draw_counts(found: Pass, head: Head, ax: Any) -> None:
    """Draw the number of examples in each bin; those after the temperature as numbers above the
    higher bar.
    """
    looks: dict[str, Any] = {
        "before": {"facecolor": "none", "edgecolor": MUTED, "linewidth": 0.8},
        "after": {"color": found.look.color, "alpha": 0.45},
    }
    for when, bins in head.bins.items():
        for each in bins:
            low, width = 100 * each.low, 100 * (each.high - each.low)
            ax.bar(low, each.n, width=width, align="edge", **looks[when])
    before = {each.low: each.n for each in head.bins["before"]}
    for each in head.bins["after"]:
        at = 50 * (each.low + each.high), 1.15 * max(each.n, before.get(each.low, 0))
        ax.text(*at, str(each.n), ha="center", va="bottom", fontsize=5.5)
    ax.set_xlabel("confidence (%)")
    ax.grid(False)
