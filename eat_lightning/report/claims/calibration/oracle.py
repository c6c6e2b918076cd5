"""Accuracy of exit rules, of a single exit for all, and of an oracle that knows the labels.

Shapes: B examples, S seeds, E exits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from eat_lightning.evaluation.oracle import oracle_exit
from eat_lightning.report import cells
from eat_lightning.report import columns as col
from eat_lightning.report.difference import Difference
from eat_lightning.report.figures import INK, PAPER, Figure
from eat_lightning.report.intervals import mean_interval, paired_difference
from eat_lightning.report.labels import place_labels
from eat_lightning.report.panels import dot, in_panels
from eat_lightning.report.passes import Pass, by_seed, examples_of, examples_text, with_examples
from eat_lightning.report.study import Mark
from eat_lightning.report.table import Table

Line = dict[str, Any]
ORACLE = "oracle"
KNOWS_LABELS = "a bound, not a rule: it knows the labels"
BOUND = (
    "The oracle lets each example leave at the first correct exit, and runs all layers where "
    "no exit is correct: no rule on these heads is more accurate."
)
CAPTION = (
    "A line joins the points of a rule; hollow squares are one exit for all examples. Star: "
    f"{BOUND[0].lower()}{BOUND[1:]} Vertical: 95 % interval over {{n}}, averaged over seeds. "
    "All answer the same examples, so paired differences are more precise (see the table)."
)
ACCURACY = "percent, mean ± sd over seeds; its interval: over examples"
TO_LAST = "points against the last layer for all; 95 % paired bootstrap over examples"
LEAST = "of the oracle, if examples that no exit gets right left at the first one"
COLUMNS = [
    col.word("model", "model"),
    col.word("way", "leaves by"),
    col.word("seeds", "seeds"),
    col.count("n", "n", help="examples judged"),
    col.spread("accuracy", "accuracy", help=ACCURACY),
    col.points("to_last", "Δ last layer", help=TO_LAST),
    col.number("depth", "depth", help="layers run, mean over examples and seeds"),
    col.number("least_depth", "least depth", help=LEAST),
    col.word("split", "split", "point.row.split"),
]
READ = ("accuracy", "to_last", "depth", "n", "seeds")


def ways(found: Pass) -> list[Line]:
    """Return lines for each exit used for all examples, each rule with stored examples, and the
    oracle.
    """
    right_SEB = np.stack([found.correct_SB(layer) for layer in found.layers], axis=1)
    lines = [
        way(found, f"all at layer {layer}", right_SEB[:, i], layer, marker="s")
        for i, layer in enumerate(found.layers)
    ]
    for point in found.early:
        if (e := examples_of(point)) is not None:
            knob = point.row.point if isinstance(point.row.point, float) else None
            known = Mark(with_examples(point.members))
            look = {"marker": "D" if knob is None else "o", "knob": knob, "point": known}
            lines.append(way(found, point.title, by_seed(e, e["right"]), e["depth"].mean(), **look))
    bounds = [oracle_exit(right_EB, found.layers) for right_EB in right_SEB]
    depth, least = np.mean([(b.depth, b.least_depth) for b in bounds], axis=0)
    known = {"marker": "*", "least_depth": least, "flags": [KNOWS_LABELS]}
    return [*lines, way(found, ORACLE, np.asarray(right_SEB.any(1)), depth, **known)]


def way(found: Pass, name: str, right_SB: np.ndarray, depth: float, **more: Any) -> Line:
    """Return the line of one strategy. The oracle's gain over the last layer is never bold, because
    it is a bound and not a result.
    """
    overall = mean_interval(right_SB.mean(0)).times(100)
    seeds = cells.over_seeds([100 * float(right_B.mean()) for right_B in right_SB])
    ends = {"value": overall.value, "low": overall.low, "high": overall.high}
    last = found.layers[-1]
    gain = paired_difference(right_SB, found.correct_SB(last)).times(100)
    to_last = cells.points(Difference(gain.value, gain))
    if name == ORACLE:
        to_last = replace(to_last, bold=False, flags=())
    line = {"model": found.name, "way": name, "seeds": found.seeds, "n": right_SB.shape[1]}
    line |= {"accuracy": replace(seeds, **ends), "overall": overall, "depth": depth}
    line["to_last"] = None if name == f"all at layer {last}" else to_last
    return line | {"point": found.point} | more


def oracle_table(task: str, reached: Mapping[str, list[Line]]) -> Table:
    title = f"Exit rules on {task}, and their upper bound"
    every = [line for own in reached.values() for line in own]
    return col.table(f"oracle-{task}", title, BOUND, COLUMNS, every)


def oracle_figure(task: str, found: Sequence[Pass], reached: Mapping[str, list[Line]]) -> Figure:
    """Plot accuracy against depth, with a panel for each pass."""

    def finish(drawing: Any, axes: list[Any], texts: list[Any]) -> None:
        for ax, placed in zip(axes, texts, strict=True):
            place_labels(ax, placed)

    name, title = f"oracle-{task}", f"Exit rules and the oracle on {task}"
    labels, size = ("layers run, mean over examples", f"right on {task} (%)"), (3.0, 2.8)
    caption, draw = CAPTION.format(n=examples_text(found)), partial(draw_ways, reached=reached)
    return in_panels(name, title, caption, found, draw, labels, size, finish, sharey=True)


def draw_ways(ax: Any, found: Pass, reached: Mapping[str, list[Line]]) -> list[Any]:
    """Draw one panel; returns its labels, which are not placed yet."""
    lines = reached[found.slug]
    color, last, texts = found.look.color, found.row.num_layers, []
    rule = [line for line in lines if line.get("knob")]
    ax.plot([w["depth"] for w in rule], [w["overall"].value for w in rule], color=color)
    for line in lines:
        marker, name = line["marker"], line["way"]
        size, face = 10 if marker == "*" else 5, PAPER if marker == "s" else color
        look = {"color": color, "marker": marker, "markersize": size, "markerfacecolor": face}
        dot(ax, line["depth"], line["overall"], {"alpha": 0.3}, mew=1, **look)
        label, at = name.replace("all at layer", "all at"), (line["depth"], line["overall"].value)
        texts.append(ax.text(*at, label, fontsize=6.5, color=INK))
    ax.set_title(found.name)
    ax.margins(y=0.12)
    ax.set_xticks(range(1, last + 1))
    first = min(line["depth"] for line in lines)
    ax.set_xlim(first - 0.15 * (last - first), last + 0.25 * (last - first))
    return texts
