"""What exit rules reach, against one exit for all, and against an oracle that knows the labels.

Shapes: B examples, S seeds, E exits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import mean
from typing import TYPE_CHECKING, Any

import numpy as np

from eat_lightning.measure.oracle import oracle_exit
from eat_lightning.report import cells
from eat_lightning.report.claim import Cell, Column, Figure, Line, Mark, Source, Table
from eat_lightning.report.compare import Difference, source_of
from eat_lightning.report.figures import INK, PAPER, place_labels
from eat_lightning.report.panels import Panels, examples_text
from eat_lightning.report.passes import Pass, outcome_of, with_examples
from eat_lightning.report.setting_table import ONE_SEED
from eat_lightning.report.statistics import Interval, mean_interval, paired_difference
from eat_lightning.report.study import Point

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ORACLE = "oracle"
KNOWS_LABELS = "a bound and no rule: it knows the labels"
BOUND = (
    "The oracle leaves each example at the first exit that is right, and runs all layers where "
    "none is: no rule on these heads is more accurate."
)
CAPTION = (
    "A line joins the points of a rule; hollow squares are one exit for all examples. "
    f"Star: {BOUND[0].lower()}{BOUND[1:]} Vertical: 95 % interval over {{n}}, seeds "
    "averaged (all answer the same examples: their differences are surer, see the table)."
)
COLUMNS = [
    Column("model", "model", numeric=False),
    Column("way", "leaves by", numeric=False),
    Column("seeds", "seeds", numeric=False),
    Column("n", "n", "examples judged"),
    Column("accuracy", "accuracy", "percent, mean ± sd over seeds; its interval: over examples"),
    Column(
        *("to_last", "Δ last layer"),
        "points against the last layer for all; 95 % paired bootstrap over examples",
    ),
    Column("depth", "depth", "layers run, mean over examples and seeds"),
    Column(
        *("least_depth", "least depth"),
        "of the oracle, if those that no exit gets right left at the first one",
    ),
    Column("split", "split", numeric=False),
]


@dataclass(frozen=True)
class Way:
    """A way of leaving, over the runs of a pass."""

    name: str
    right_SB: np.ndarray
    depth: float
    source: Source
    marker: str
    point: float | None = None
    least_depth: float | None = None

    @cached_property
    def accuracy(self) -> Interval:
        """In percent."""
        return mean_interval(self.right_SB.mean(0)).times(100)

    @property
    def label(self) -> str:
        return self.name.replace("all at layer", "all at")


def ways(found: Pass) -> list[Way]:
    """Each exit for all examples, each rule, and the oracle."""
    made = [
        Way(f"all at layer {layer}", found.correct_SB(layer), layer, found.source, "s")
        for layer in found.layers
    ]
    return [*made, *(way for point in found.early for way in rule(point)), oracle(found)]


def rule(point: Point) -> list[Way]:
    """None where the examples are not at hand."""
    runs = with_examples(point.members)
    if not runs:
        return []
    right_SB = np.stack([m.correct_B for m in runs if m.correct_B is not None])
    depth = float(np.mean([outcome_of(m).depth_B.mean() for m in runs]))
    knob = point.row.point if isinstance(point.row.point, float) else None
    marker = "D" if knob is None else "o"
    return [Way(point.setting, right_SB, depth, source_of(Point(runs)), marker, knob)]


def oracle(found: Pass) -> Way:
    right_SEB = np.stack([found.correct_SB(layer) for layer in found.layers], axis=1)
    bounds = [oracle_exit(right_EB, found.layers) for right_EB in right_SEB]
    depth, least = mean(b.depth for b in bounds), mean(b.least_depth for b in bounds)
    return Way(ORACLE, np.asarray(right_SEB.any(1)), depth, found.source, "*", least_depth=least)


def oracle_table(task: str, found: Sequence[Pass]) -> Table:
    title = f"What exit rules reach on {task}, and the bound that none can beat"
    lines = [line_of(each, way) for each in found for way in ways(each)]
    return Table(f"oracle-{task}", title, BOUND, COLUMNS, lines)


def line_of(found: Pass, way: Way) -> Line:
    accuracy = way.accuracy
    text = cells.over_seeds([100 * float(right_B.mean()) for right_B in way.right_SB]).text
    made = {
        "model": cells.words(found.name),
        "way": cells.words(way.name),
        "seeds": cells.words(found.seeds),
        "n": cells.words(way.right_SB.shape[1]),
        "accuracy": Cell(accuracy.value, text, accuracy.low, accuracy.high),
        "to_last": to_last(found, way),
        "depth": cells.number(way.depth, 2),
        "least_depth": cells.number(way.least_depth, 2),
        "split": cells.words(found.row.split),
    }
    flags = [ONE_SEED] * (len(way.right_SB) == 1) + [KNOWS_LABELS] * (way.name == ORACLE)
    return Line(made, way.source, tuple(flags))


def to_last(found: Pass, way: Way) -> Cell:
    """Never bold for the oracle, which is no result."""
    if way.name == f"all at layer {found.layers[-1]}":
        return cells.EMPTY
    last_SB = found.correct_SB(found.layers[-1])
    gain = paired_difference(way.right_SB, last_SB).times(100)
    made = cells.points(Difference(gain.value, gain))
    return Cell(made.value, made.text, made.low, made.high) if way.name == ORACLE else made


def oracle_figure(task: str, found: Sequence[Pass]) -> Figure:
    """Accuracy against depth, a panel for each pass."""
    shown, panels = [(each, ways(each)) for each in found], Panels(len(found), 2.8)

    def draw(drawing: Any) -> None:
        labels = "layers run, mean over examples", f"right on {task} (%)"
        axes = panels.draw(drawing, *labels, sharey=True)
        texts = [draw_ways(ax, *each) for ax, each in zip(axes, shown, strict=True)]
        for ax, found in zip(axes, texts, strict=True):
            place_labels(ax, found)

    marks = [mark_of(each, i, way) for each, made in shown for i, way in enumerate(made)]
    caption = CAPTION.format(n=examples_text(found))
    title = f"What exit rules reach on {task}, and could"
    return Figure(f"oracle-{task}", title, caption, draw, panels.size, marks)


def gid(found: Pass, index: int) -> str:
    return f"oracle-{found.slug}-{index}"


def draw_ways(ax: Axes, found: Pass, made: Sequence[Way]) -> list[Any]:
    """Returns the labels, which are not yet placed."""
    color, texts = found.look.color, []
    line = [way for way in made if way.point]
    ax.plot([way.depth for way in line], [way.accuracy.value for way in line], color=color)
    for i, way in enumerate(made):
        faint: dict[str, Any] = {"linewidth": 0.9, "alpha": 0.3}
        ax.plot([way.depth] * 2, [way.accuracy.low, way.accuracy.high], color=color, **faint)
        style: dict[str, Any] = {"markersize": 10 if way.name == ORACLE else 5, "zorder": 3}
        style["markerfacecolor"] = PAPER if way.marker == "s" else color
        (mark,) = ax.plot(way.depth, way.accuracy.value, way.marker, color=color, **style)
        mark.set_gid(gid(found, i))
        texts.append(ax.text(way.depth, way.accuracy.value, way.label, fontsize=6.5, color=INK))
    ax.set_title(found.name)
    ax.margins(y=0.12)
    ax.set_xticks(range(1, found.row.num_layers + 1))
    first, last = min(way.depth for way in made), found.row.num_layers
    ax.set_xlim(first - 0.15 * (last - first), last + 0.25 * (last - first))
    return texts


def mark_of(found: Pass, index: int, way: Way) -> Mark:
    low, high = way.accuracy.low, way.accuracy.high
    details = (
        ("right", f"{way.accuracy.value:.2f} % ({low:.2f} to {high:.2f})"),
        ("Δ last layer", to_last(found, way).text),
        ("depth", f"{way.depth:.2f} of {found.row.num_layers}"),
        ("examples", str(way.right_SB.shape[1])),
        ("seeds", found.seeds),
    )
    told = tuple((what, text) for what, text in details if text)
    return Mark(gid(found, index), f"{found.name}, {way.name}", told, way.source)
