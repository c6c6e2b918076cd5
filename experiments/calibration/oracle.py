"""What exit rules reach, against one exit for all, and against an oracle that knows the labels.

Shapes: B examples, S seeds, E exits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import mean
from typing import TYPE_CHECKING, Any

import numpy as np

from eat_lightning.measure.oracle import oracle_exit
from eat_lightning.report import cells
from eat_lightning.report.claim import Cell, Figure, Table
from eat_lightning.report.columns import count, made, number, read_at, table, word
from eat_lightning.report.compare import Difference
from eat_lightning.report.figures import INK, PAPER, place_labels
from eat_lightning.report.panels import Dot, Panels
from eat_lightning.report.passes import Pass, examples_text, with_examples
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


@dataclass(frozen=True)
class Way:
    """A way of leaving, over the runs of a pass."""

    found: Pass
    name: str
    right_SB: np.ndarray
    depth: float
    point: Point
    marker: str
    knob: float | None = None
    least_depth: float | None = None

    @cached_property
    def accuracy(self) -> Interval:
        """In percent."""
        return mean_interval(self.right_SB.mean(0)).times(100)

    @property
    def n(self) -> int:
        return self.right_SB.shape[1]

    @property
    def to_last(self) -> Cell:
        """Points over the last layer for all. Never bold for the oracle, which is no result."""
        if self.name == f"all at layer {self.found.layers[-1]}":
            return cells.EMPTY
        last_SB = self.found.correct_SB(self.found.layers[-1])
        gain = paired_difference(self.right_SB, last_SB).times(100)
        cell = cells.points(Difference(gain.value, gain))
        return replace(cell, bold=False, flags=()) if self.name == ORACLE else cell


def accuracy_cell(way: Way) -> Cell:
    seeds = cells.over_seeds([100 * float(right_B.mean()) for right_B in way.right_SB])
    return replace(seeds, value=way.accuracy.value, low=way.accuracy.low, high=way.accuracy.high)


COLUMNS = [
    word("model", "model", "found.name"),
    word("way", "leaves by", "name"),
    word("seeds", "seeds", "found.seeds"),
    count("n", "n", "n", "examples judged"),
    made(
        "accuracy",
        "accuracy",
        accuracy_cell,
        "percent, mean ± sd over seeds; its interval: over examples",
    ),
    made(
        "to_last",
        "Δ last layer",
        lambda way: way.to_last,
        "points against the last layer for all; 95 % paired bootstrap over examples",
    ),
    number("depth", "depth", "depth", 2, "layers run, mean over examples and seeds"),
    number(
        "least_depth",
        "least depth",
        "least_depth",
        2,
        "of the oracle, if those that no exit gets right left at the first one",
    ),
    word("split", "split", "found.row.split"),
]


def ways(found: Pass) -> list[Way]:
    """Each exit for all examples, each rule, and the oracle."""
    fixed = [
        Way(found, f"all at layer {layer}", found.correct_SB(layer), layer, found.point, "s")
        for layer in found.layers
    ]
    return [*fixed, *(way for point in found.early for way in rule(found, point)), oracle(found)]


def rule(found: Pass, point: Point) -> list[Way]:
    """None where the examples are not at hand."""
    runs = with_examples(point.members)
    if not runs:
        return []
    right_SB = np.stack([m.correct_B for m in runs if m.correct_B is not None])
    depth = float(np.mean([m.known.depth_B.mean() for m in runs]))
    knob = point.row.point if isinstance(point.row.point, float) else None
    marker = "D" if knob is None else "o"
    return [Way(found, point.setting, right_SB, depth, Point(runs), marker, knob)]


def oracle(found: Pass) -> Way:
    right_SEB = np.stack([found.correct_SB(layer) for layer in found.layers], axis=1)
    bounds = [oracle_exit(right_EB, found.layers) for right_EB in right_SEB]
    depth, least = mean(b.depth for b in bounds), mean(b.least_depth for b in bounds)
    right_SB = np.asarray(right_SEB.any(1))
    return Way(found, ORACLE, right_SB, depth, found.point, "*", least_depth=least)


def oracle_table(task: str, found: Sequence[Pass]) -> Table:
    title = f"What exit rules reach on {task}, and the bound that none can beat"
    every = [way for each in found for way in ways(each)]
    flags = {ORACLE: [KNOWS_LABELS]}
    return table(
        f"oracle-{task}", title, BOUND, COLUMNS, every, flags=lambda w: flags.get(w.name, [])
    )


def oracle_figure(task: str, found: Sequence[Pass]) -> Figure:
    """Accuracy against depth, a panel for each pass."""
    shown, panels = [(each, ways(each)) for each in found], Panels(len(found), 2.8)
    dots = [[dot_of(i, way) for i, way in enumerate(each)] for _, each in shown]

    def draw(drawing: Any) -> None:
        labels = "layers run, mean over examples", f"right on {task} (%)"
        axes = panels.draw(drawing, *labels, sharey=True)
        each = zip(axes, shown, dots, strict=True)
        texts = [draw_ways(ax, one, made, marks) for ax, (one, made), marks in each]
        for ax, placed in zip(axes, texts, strict=True):
            place_labels(ax, placed)

    marks = [dot.mark for some in dots for dot in some]
    caption = CAPTION.format(n=examples_text(found))
    title = f"What exit rules reach on {task}, and could"
    return Figure(f"oracle-{task}", title, caption, draw, panels.size, marks)


def draw_ways(ax: Axes, found: Pass, made: Sequence[Way], dots: Sequence[Dot]) -> list[Any]:
    """Returns the labels, which are not yet placed."""
    line, texts = [way for way in made if way.knob], []
    depths, values = [way.depth for way in line], [way.accuracy.value for way in line]
    ax.plot(depths, values, color=found.look.color)
    for way, dot in zip(made, dots, strict=True):
        dot.draw(ax)
        label = way.name.replace("all at layer", "all at")
        texts.append(ax.text(way.depth, way.accuracy.value, label, fontsize=6.5, color=INK))
    ax.set_title(found.name)
    ax.margins(y=0.12)
    ax.set_xticks(range(1, found.row.num_layers + 1))
    first, last = min(way.depth for way in made), found.row.num_layers
    ax.set_xlim(first - 0.15 * (last - first), last + 0.25 * (last - first))
    return texts


def dot_of(index: int, way: Way) -> Dot:
    color = way.found.look.color
    look = {
        "color": color,
        "marker": way.marker,
        "markersize": 10 if way.name == ORACLE else 5,
        "markerfacecolor": PAPER if way.marker == "s" else color,
        "mew": 1,
    }
    gid, title = f"oracle-{way.found.slug}-{index}", f"{way.found.name}, {way.name}"
    read = read_at(gid, title, way, COLUMNS, ("accuracy", "to_last", "depth", "n", "seeds"))
    return Dot(read, way.depth, way.accuracy, look, {"alpha": 0.3})
