"""Accuracy against cost: a mark for each setting, a line through the operating points of each
method, and a dotted line through the fixed depths of the same weights.
"""

from __future__ import annotations

from collections.abc import Sequence, Sized
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from eat_lightning.report.baselines import SAME_TIMING, Entry, same_timing
from eat_lightning.report.difference import accuracy_interval
from eat_lightning.report.figures import MUTED, PAPER, Figure, SeriesLook, looks_of
from eat_lightning.report.intervals import Interval, over_seeds
from eat_lightning.report.labels import distance, place_labels
from eat_lightning.report.panels import dot, handles
from eat_lightning.report.speed import Cost, batch_ms, single_ms
from eat_lightning.report.study import Mark, grouped_by
from eat_lightning.runs.row import STATIC_BASELINE, THEIRS, Row
from eat_lightning.weights.precision import PLAIN

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Text

HEIGHT, WIDTH = 3.6, 3.5  # inches of a panel
FEW = 4  # names up to which marks have labels of their own; more are told by a legend
CAPTION = (
    "Left: counted FLOPs of one example. Then: its mean time, and its time in batches of "
    "{batch} in order of arrival. A line joins the exit thresholds of one model (dashed: those "
    "fitted for budgets); close ones have no label. Dotted, with hollow squares: the same "
    "weights with all examples leaving at one layer (fixed depth). Filled marks off the line "
    "are static, other hollow ones Hugging Face's padded model of the same weights. Vertical: "
    "95 % interval of the accuracy over {n} examples, averaged over seeds. All settings answer "
    "the same examples, so paired differences are more precise (see the table). Horizontal: "
    "range over repeats and seeds. {how}."
)


class Panel(NamedTuple):
    key: str
    title: str
    cost: Cost


@dataclass(frozen=True)
class Spot:
    """A setting in one panel: its position in the panel's unit and percent."""

    entry: Entry
    panel: Panel
    look: SeriesLook
    x: Interval
    y: Interval

    @property
    def line(self) -> str:
        """Style of the line that connects the setting; "" for a single mark."""
        if self.entry.fixed:
            return ":"
        fitted = self.entry.point.row.budget is not None
        return "" if not self.entry.adaptive else "--" if fitted else "-"

    def draw(self, ax: Axes) -> None:
        fixed, theirs = self.entry.fixed, self.entry.point.row.baseline == THEIRS
        look = {
            "color": self.look.color,
            "marker": "s" if fixed else self.look.marker,
            "markerfacecolor": PAPER if fixed or theirs else self.look.color,
            "markersize": 4 if fixed else 5.5,
            "mew": 1,
        }
        dot(ax, self.x, self.y, {"alpha": 0.25, "zorder": 1.5}, **look)


def figures_of(name: str, entries: Sequence[Entry]) -> list[Figure]:
    """Return a figure for each way of timing (dtype and layout, device, threads, machine)."""
    judged = [entry for entry in entries if entry.point.mean("accuracy") is not None]
    timed, free = ([e for e in judged if e.point.timed is wanted] for wanted in (True, False))
    groups = grouped_by(timed, lambda entry: timing_of(entry, entries))
    made = []
    for number, (how, own) in enumerate(groups.items(), start=1):
        more = [e for e in free if e.fixed and beside(e, own)]
        title = name if number == 1 else f"{name}-{number}"
        made.append(figure_of(title, [*own, *more], how))
    return made


def timing_of(entry: Entry, entries: Sequence[Entry]) -> tuple[str, ...]:
    """Return how a setting was timed. Hugging Face's model counts as our model from the same
    session, whatever its layout.
    """
    row = entry.point.row
    ours = [e.point.row for e in entries if e.point.row.baseline != THEIRS]
    forms = [r.form for r in ours if r.session == row.session and same_timing(r, row)]
    form = forms[0] if row.baseline == THEIRS and forms else row.form
    return (*(str(getattr(row, key)) for key in SAME_TIMING), form)


def beside(fixed: Entry, timed: Sequence[Entry]) -> bool:
    """True for fixed depths, which need no timing, of weights that were timed."""
    known = [(m.run, m.row.dtype) for e in timed for m in e.point.members]
    return all((m.run, m.row.dtype) in known for m in fixed.point.members)


def figure_of(name: str, entries: Sequence[Entry], how: tuple[str, ...]) -> Figure:
    row = entries[0].point.row
    panels = [
        Panel("flops", "GFLOPs, counted", gflops),
        Panel("single", "ms at batch 1", single_ms),
        Panel("batch", f"ms per example at batch {row.throughput_batch}", batch_ms),
    ]
    shown = [(panel, spots(panel, entries)) for panel in panels]
    named = {s.entry.model: s.look for _, found in shown for s in found}

    def draw(drawing: Any) -> None:
        axes = drawing.subplots(1, len(panels), sharey=True)
        axes[0].set_ylabel(f"accuracy on {row.task} (%)")
        texts = [fill(ax, *each, named) for ax, each in zip(axes, shown, strict=True)]
        if len(named) > FEW:
            looks = {n: {"marker": k.marker, "color": k.color} for n, k in sorted(named.items())}
            drawing.legend(*handles(looks), loc="outside lower center", ncols=5)
        for ax, found in zip(axes, texts, strict=True):
            place_labels(ax, found)

    dtype, device, threads, machine, form = how
    dtype += f" {form}" if form != PLAIN else ""
    where = f"{dtype}, {threads} thread{'s' if threads != '1' else ''}, {device}, {machine}"
    caption = CAPTION.format(batch=row.throughput_batch, n=row.num_examples, how=where)
    title = f"Accuracy against cost on {row.task}"
    return Figure(name, title, caption, draw, (WIDTH * len(panels), HEIGHT))


def spots(panel: Panel, entries: Sequence[Entry]) -> list[Spot]:
    """Return the entries that have a cost in this panel."""
    looks, found = looks_of(entries[0].study), []
    for entry in entries:
        x, y = cost_of(entry.point, panel.cost), accuracy_interval(entry.point).times(100)
        if x is not None:
            found.append(Spot(entry, panel, looks[entry.model], x, y))
    return found


def fill(ax: Axes, panel: Panel, found: list[Spot], named: Sized) -> list[Text]:
    """Draw marks, intervals and lines; returns the labels, which are not placed yet."""
    ax.set_xlabel(panel.title)
    for line in lines_of(found):
        at = [s.x.value for s in line], [s.y.value for s in line]
        ax.plot(*at, line[0].line, color=line[0].look.color, linewidth=1.2, zorder=2)
    for spot in found:
        spot.draw(ax)
    spread(ax, found)
    if len(named) > FEW:
        return []
    unlabelled = [spot for line in lines_of(found) for spot in between_others(ax, line)]
    return [label_of(ax, spot, found) for spot in found if spot not in unlabelled]


def lines_of(found: Sequence[Spot]) -> list[list[Spot]]:
    """Return the points that lines connect, from left to right: thresholds, budgets or fixed depths
    of a method.
    """
    on_lines = [spot for spot in found if spot.line]
    lines = grouped_by(on_lines, lambda spot: (spot.entry.model, spot.line)).values()
    return [sorted(line, key=lambda spot: spot.x.value) for line in lines]


def spread(ax: Axes, found: list[Spot]) -> None:
    """Set the axes: room at the sides for labels, a logarithmic axis where costs differ much, and
    the majority baseline where it is near.
    """
    costs = [spot.x.value for spot in found]
    if costs and max(costs) > 6 * min(costs):
        from matplotlib.ticker import LogLocator

        ax.set_xscale("log")
        ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.xaxis.set_major_formatter("{x:g}")
        ax.xaxis.set_minor_locator(LogLocator(subs=()))
    ax.margins(x=0.15)
    bottom, top = ax.get_ylim()
    majority = 100 * (found[0].entry.point.row.majority or 0.0) if found else 0.0
    if majority > bottom - (top - bottom) / 4:
        ax.axhline(majority, color=MUTED, linewidth=0.8, linestyle=":")
        at: Any = ("axes fraction", "data")
        ax.annotate("largest class", (0.01, majority), xycoords=at, va="bottom")


def between_others(ax: Axes, line: list[Spot], room: float = 12.0) -> list[Spot]:
    """Return the marks on a line that need no label: they lie within `room` typographic points of a
    labelled one, and their order identifies them. The first and the last are always labelled.
    """
    at_point = [s for s in line if s.entry.fixed or s.entry.point.row.knob]
    shown, unlabelled = [*at_point[:1], *at_point[-1:]], []
    for spot in at_point[1:-1]:
        at = spot.x.value, spot.y.value
        if min(distance(ax, at, (other.x.value, other.y.value)) for other in shown) < room:
            unlabelled.append(spot)
        else:
            shown.append(spot)
    return unlabelled


def label_of(ax: Axes, spot: Spot, found: list[Spot]) -> Text:
    """Return a label. The model's name is given once, where its line begins, or at a
    static model.
    """
    point = spot.entry.point
    number = point.setting.split()[-1] if point.row.knob or spot.entry.fixed else point.setting
    text = {STATIC_BASELINE: "static", "never": "no exit", THEIRS: "HF"}.get(point.setting, number)
    first = next((line[0] for line in lines_of(found) if spot in line), None)
    if spot.entry.fixed:
        text = f"layer {number}" if spot is first else number
    elif spot is first:
        text = spot.entry.name
    elif point.is_static and not point.row.baseline:
        text = spot.entry.model
    at: dict[str, Any] = {"ha": "left", "va": "bottom", "fontsize": 6.5}
    return ax.text(spot.x.value, spot.y.value, text, color=spot.look.color, **at)


def gflops(row: Row) -> Interval | None:
    """Counted GFLOPs of an example, without spread over repeats; None for Hugging Face's model."""
    return None if row.baseline == THEIRS else Interval.exact(row.flops / 1e9)


def cost_of(point: Mark, cost: Cost) -> Interval | None:
    """Mean cost over seeds, and the extremes of the repeats."""
    found = [interval for m in point.members if (interval := cost(m.row)) is not None]
    return over_seeds(found) if len(found) == len(point.members) else None
