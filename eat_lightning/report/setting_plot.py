"""Accuracy against time as a figure: a mark for each setting, a line through a model's taus."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from eat_lightning.infer.precision import PLAIN
from eat_lightning.measure.settings import THEIRS
from eat_lightning.report import cells
from eat_lightning.report.claim import Figure, Mark
from eat_lightning.report.compare import (
    SAME_TIMING,
    Entry,
    Time,
    accuracy_interval,
    batch_ms,
    same_timing,
    single_ms,
    source_of,
    speed_up,
    time_of,
)
from eat_lightning.report.figures import MUTED, PAPER, Look, looks_of, model_name, place_labels
from eat_lightning.report.statistics import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Text

SIZE = (7.2, 3.6)
CAPTION = (
    "Left: mean time of one example. Right: time per example in batches of {batch}, as they come. "
    "A line joins the exit thresholds (tau) of one model, of which those that lie close have no "
    "label; filled marks off the line are static, "
    "hollow ones Hugging Face's padded model of the same weights. Vertical: 95 % interval of the "
    "accuracy over {n} examples, seeds averaged (all settings answer the same examples, so their "
    "differences are surer than that: see the table). Horizontal: extremes of the repeats and of "
    "the seeds. {how}."
)


@dataclass(frozen=True)
class Spot:
    """A setting in one panel: where it is, in ms and percent."""

    entry: Entry
    name: str
    look: Look
    gid: str
    x: Interval
    y: Interval

    @property
    def series(self) -> tuple[str, str]:
        return self.name, self.entry.point.slots

    @property
    def hollow(self) -> bool:
        return self.entry.point.row.baseline == THEIRS


@dataclass(frozen=True)
class Panel:
    key: str
    title: str
    time: Time


def figures_of(name: str, entries: Sequence[Entry]) -> list[Figure]:
    """Of one task: a figure for each way of timing (dtype and form, device, threads, machine)."""
    ways: dict[tuple[str, ...], list[Entry]] = {}
    for entry in entries:
        if entry.point.timed and entry.point.mean("accuracy") is not None:
            ways.setdefault(way_of(entry, entries), []).append(entry)
    numbered = enumerate(ways.items(), start=1)
    return [
        figure_of(name if i == 1 else f"{name}-{i}", found, how) for i, (how, found) in numbered
    ]


def way_of(entry: Entry, entries: Sequence[Entry]) -> tuple[str, ...]:
    """How it was timed; Hugging Face's model as ours that took turns with it, whatever its own
    form."""
    row = entry.point.row
    ours = [e.point.row for e in entries if e.point.row.baseline != THEIRS]
    beside = [r.form for r in ours if r.session == row.session and same_timing(r, row)]
    form = beside[0] if row.baseline == THEIRS and beside else row.form
    return (*(str(getattr(row, key)) for key in SAME_TIMING), form)


def figure_of(name: str, entries: Sequence[Entry], how: tuple[str, ...]) -> Figure:
    row = entries[0].point.row
    batch = f"ms per example at batch {row.throughput_batch}"
    panels = [Panel("single", "ms at batch 1", single_ms), Panel("batch", batch, batch_ms)]
    shown = {panel: spots(name, panel, entries) for panel in panels}

    def draw(drawing: Any) -> None:
        axes = drawing.subplots(1, len(panels), sharey=True)
        axes[0].set_ylabel(f"accuracy on {row.task} (%)")
        texts = [fill(ax, panel, shown[panel]) for ax, panel in zip(axes, panels, strict=True)]
        for ax, found in zip(axes, texts, strict=True):
            place_labels(ax, found)

    dtype, device, threads, machine, form = how
    dtype += f" {form}" if form != PLAIN else ""
    where = f"{dtype}, {threads} thread{'s' if threads != '1' else ''}, {device}, {machine}"
    caption = CAPTION.format(batch=row.throughput_batch, n=row.num_examples, how=where)
    marks = [mark_of(spot, panel) for panel, found in shown.items() for spot in found]
    return Figure(name, f"Accuracy against time on {row.task}", caption, draw, SIZE, marks)


def spots(name: str, panel: Panel, entries: Sequence[Entry]) -> list[Spot]:
    """Those that have a time in this panel."""
    study = entries[0].study
    looks, rows = looks_of(study), [m.row for m in study.measured]
    found = []
    for i, entry in enumerate(entries):
        x, y = time_of(entry.point, panel.time), accuracy_interval(entry.point).times(100)
        model = model_name(entry.point.row, rows)
        if x is not None:
            found.append(Spot(entry, model, looks[model], f"{name}-{panel.key}-{i}", x, y))
    return found


def fill(ax: Axes, panel: Panel, found: list[Spot]) -> list[Text]:
    """Marks, intervals, lines; returns the labels, which are not yet placed."""
    ax.set_xlabel(panel.title)
    for series in dict.fromkeys(spot.series for spot in found if spot.entry.adaptive):
        line = [spot for spot in found if spot.series == series and spot.entry.adaptive]
        line.sort(key=lambda spot: spot.x.value)
        at = [s.x.value for s in line], [s.y.value for s in line]
        ax.plot(*at, color=line[0].look.color, linewidth=1.2, zorder=2)
    for spot in found:
        draw_spot(ax, spot)
    spread(ax, found)
    return [label_of(ax, spot, found) for spot in found if spot not in between_others(ax, found)]


def draw_spot(ax: Axes, spot: Spot) -> None:
    x, y, color = spot.x, spot.y, spot.look.color
    faint: dict[str, Any] = {"color": color, "linewidth": 0.9, "alpha": 0.25, "zorder": 1.5}
    ax.plot([x.value, x.value], [y.low, y.high], **faint)
    ax.plot([x.low, x.high], [y.value, y.value], **faint)
    (mark,) = ax.plot(
        *(x.value, y.value, spot.look.marker),
        color=color,
        markerfacecolor=PAPER if spot.hollow else color,
        markersize=5.5,
        zorder=3,
    )
    mark.set_gid(spot.gid)


def spread(ax: Axes, found: list[Spot]) -> None:
    """Room at the sides for labels; a logarithmic axis where models differ much in size; and the
    largest class where it is near."""
    times = [spot.x.value for spot in found]
    if times and max(times) > 6 * min(times):
        from matplotlib.ticker import FuncFormatter, LogLocator

        ax.set_xscale("log")
        ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        ax.xaxis.set_minor_locator(LogLocator(subs=()))
    ax.margins(x=0.15)
    bottom, top = ax.get_ylim()
    majority = 100 * (found[0].entry.point.row.majority or 0.0) if found else 0.0
    if majority > bottom - (top - bottom) / 4:
        ax.axhline(majority, color=MUTED, linewidth=0.8, linestyle=":")
        ax.annotate(
            "largest class", (0.01, majority), xycoords=("axes fraction", "data"), va="bottom"
        )


def between_others(ax: Axes, found: list[Spot], room: float = 12.0) -> list[Spot]:
    """Taus within `room` points of a labelled one of their line, whose order tells what they are:
    they go without a label. The first, the last and "no exit" have theirs."""
    unlabelled = []
    for series in dict.fromkeys(spot.series for spot in found):
        line = [s for s in found if s.series == series and s.entry.adaptive]
        taus = sorted((s for s in line if s.entry.point.row.point), key=lambda s: s.x.value)
        shown = [taus[0], taus[-1]] if taus else []
        for spot in taus[1:-1]:
            if min(points_apart(ax, spot, other) for other in shown) < room:
                unlabelled.append(spot)
            else:
                shown.append(spot)
    return unlabelled


def points_apart(ax: Axes, one: Spot, other: Spot) -> float:
    ends = ax.transData.transform([(s.x.value, s.y.value) for s in (one, other)])
    dots = float(((ends[0] - ends[1]) ** 2).sum() ** 0.5)
    return dots * 72 / ax.figure.dpi


def label_of(ax: Axes, spot: Spot, found: list[Spot]) -> Text:
    """The model's name once, where its line begins or at a model that is static only."""
    point = spot.entry.point
    short = {"own static": "static", "never": "no exit", THEIRS: "HF"}
    text = short.get(point.setting, point.setting.removeprefix("tau "))
    line = [s for s in found if s.series == spot.series and s.entry.adaptive]
    if line and spot is min(line, key=lambda s: s.x.value):
        text = f"{spot.name} {point.setting.replace('tau', 'τ')}"
    elif point.is_static and not point.row.baseline:
        text = spot.name
    at: dict[str, Any] = {"ha": "left", "va": "bottom", "fontsize": 6.5}
    return ax.text(spot.x.value, spot.y.value, text, color=spot.look.color, **at)


def mark_of(spot: Spot, panel: Panel) -> Mark:
    """What a person reads who points at it."""
    point, entry = spot.entry.point, spot.entry
    details = [
        ("accuracy", f"{spot.y.value:.2f} % ({spot.y.low:.2f} to {spot.y.high:.2f})"),
        (panel.title, f"{spot.x.value:.2f} ({spot.x.low:.2f} to {spot.x.high:.2f})"),
        ("Δ own static", cells.points(entry.to_own).text),
        ("Δ trained static", cells.points(entry.to_trained).text),
        ("times as fast as own static", speed_text(entry, panel)),
        ("depth", f"{point.mean('depth'):.2f} of {point.row.num_layers}"),
        ("retention", f"{point.mean('retention'):.3f}"),
        ("FLOPs / own static's", f"{point.mean('flops_ratio'):.3f}"),
        ("examples", str(point.row.num_examples)),
        ("seeds", ", ".join(map(str, point.seeds))),
    ]
    kept = tuple((what, text) for what, text in details if text)
    return Mark(spot.gid, f"{spot.name}, {point.setting}", kept, source_of(point))


def speed_text(entry: Entry, panel: Panel) -> str:
    if entry.point.is_static:
        return ""
    return cells.times(speed_up(entry.point, "batch_" if panel.key == "batch" else "")).text
