"""Which method pays: all of a study at one budget, by what choosing for each example gains.

    python -m experiments methods [study=experiments/methods/results]

The budget is 0.5 where some row has it, else the one that most rows have. Needs the rows that
`budgets` needs, all timed in one call of measure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from eat_lightning.report import columns as col
from eat_lightning.report.budgeted import COLUMNS, NEED, Method, methods_of
from eat_lightning.report.cells import points_text
from eat_lightning.report.claim import Claim
from eat_lightning.report.difference import Difference
from eat_lightning.report.figures import INK, PAPER, SERIES, Figure
from eat_lightning.report.intervals import Interval
from eat_lightning.report.panels import dot, handles
from eat_lightning.report.study import Study
from eat_lightning.report.table import Table

AT = 0.5  # of the full FLOPs, where rows have it: fixed depth is there at a layer, 3 of 6
IN_MS = (
    "rows here were fitted for milliseconds alone, not for a share of FLOPs: "
    "python -m eat_lightning.measure run=... budgets=[0.5]"
)
# Headline numbers as printed, of other bodies, tasks and clocks: what was hoped for, no comparison.
PUBLISHED = {
    "power_bert": "2.0 to 4.5x at -0.2 to -0.9 points (BERT-base, GLUE test, padded batches)",
    "ltp": "2.5 points above earlier pruning at equal FLOPs (RoBERTa-base)",
    "ats": "half of the FLOPs at equal accuracy (images)",
    "tome": "1.6 to 2.0x at -0.4 to -1.7 points (images, trained)",
    "self_distillation": "3.5x at +0.1, 10x at -1.4 points (FastBERT, FLOPs)",
    "beem": "1.5 to 2.1x at equal or better accuracy (GLUE, layers)",
    "cofi": "2.0x at 60 % fewer weights (BERT-base, MRPC, RTE and CoLA)",
    "sweet": "+1.1 points over joint exits (few examples)",
    "patience": "1.57x at 0 to +2.3 points (PABEE, ALBERT-base)",
}
LOOKS: dict[str, dict[str, Any]] = {
    name: {"marker": "o", "markersize": 3, "linestyle": "", "color": color} | more
    for name, color, more in (
        ("best mix of two depths", SERIES[0], {}),
        ("two neighbouring depths", SERIES[1], {"markerfacecolor": PAPER, "mew": 0.8}),
    )
}
KEEP = {
    "model",
    "seeds",
    "full",
    "accuracy",
    "flops_ratio",
    "depth",
    "retention",
    "gain",
    "mix_gain",
}
LINE = [c for c in COLUMNS if c.key in KEEP | {"to_trained", "single", "batch", "num_examples"}]
MANY = 10  # methods in one table, from which on the caption tells what chance alone makes bold
CONVERTED = "times as fast as own static x FLOPs / its FLOPs"
CONVERSIONS = [
    col.field("conversion", "conversion", 2, f"{CONVERTED}, batch 1"),
    col.field("batch_conversion", "conversion, batches", 2, f"{CONVERTED}, as they come"),
]


def claim(study: Study) -> Claim:
    """A table for each task: a line for each method at one budget, the largest gain first."""
    found = {task: methods_of(study, task) for task in study.tasks}
    budgets = [budget for methods in found.values() for budget in budgets_of(methods)]
    if not budgets:
        return Claim("methods", "Methods: which of them pays").or_lacking(need(study))
    at = most_common(budgets)
    whole = Claim("methods", f"Methods at budget {at:g}: which of them pays")
    for task, methods in found.items():
        if lines := lines_of(methods, at):
            whole.add(
                answers(task, at, lines), [table_of(task, at, lines)], [figure_of(task, lines)]
            )
    whole.add(notes=notes(found, at))
    return whole


def budgets_of(methods: Sequence[Method]) -> list[float]:
    return [line["point"].row.budget for method in methods for line in method.lines]


def most_common(budgets: Sequence[float]) -> float:
    """The usual budget where some row has it, else the one that most rows have."""
    if AT in budgets:
        return AT
    return max(sorted({*budgets}), key=lambda at: (budgets.count(at), -abs(at - AT)))


def need(study: Study) -> str:
    """Name what is lacking where no row has a budget as a share of FLOPs."""
    in_ms = any(m.row.budget_ms is not None for m in study.measured)
    return IN_MS if in_ms else NEED


def notes(found: dict[str, list[Method]], at: float) -> Iterator[str]:
    """Which methods were not fitted for the budget that is shown, and for which they were."""
    for task, methods in found.items():
        for method in methods:
            others = sorted({*budgets_of([method])})
            if at not in others:
                fitted = ", ".join(f"{budget:g}" for budget in others)
                yield f"{task}, {method.name}: no row at budget {at:g}, only at {fitted}."


def lines_of(methods: Sequence[Method], at: float) -> list[dict[str, Any]]:
    lines = [one for method in methods for one in method.lines if one["point"].row.budget == at]
    lines = [line | {"published": published(line)} for line in lines]
    return sorted(lines, key=lambda line: line["gain"].points if line["gain"] else 0, reverse=True)


def figure_of(task: str, lines: Sequence[dict[str, Any]]) -> Figure:
    """Each method's gains, and its loss against the static model, with their intervals."""
    compared = any(line["to_trained"] for line in lines)

    def draw(drawing: Any) -> None:
        axes = drawing.subplots(1, 1 + compared, sharey=True, squeeze=False)[0]
        left, right = axes[0], axes[-1]
        for y, line in enumerate(reversed(lines)):
            mark(left, line["gain"], y + 0.15, LOOKS["two neighbouring depths"])
            mark(left, line["mix_gain"], y - 0.15, LOOKS["best mix of two depths"])
            if compared:
                mark(right, line["to_trained"], y, LOOKS["best mix of two depths"])
        names = [line["model"].removeprefix("eat_pruned, ") for line in reversed(lines)]
        left.set_yticks(range(len(lines)), labels=names, fontsize=6)
        left.set_ylim(-0.6, len(lines) - 0.4)
        right.set_title("points over the trained static", fontsize=7)
        left.set_title("points over a mix of fixed depths", fontsize=7)
        drawing.legend(*handles(LOOKS), fontsize=6, loc="outside lower center", ncols=2)
        for ax in axes:
            ax.axvline(0, color=INK, linewidth=0.8)

    caption = (
        "Left, filled: over the best random mix of two depths; hollow: over a mix of the two "
        "neighbouring ones. "
        + compared * "Right: against the static model that was trained for itself. "
        + "Paired 95 % intervals over examples."
    )
    size = 5.6, max(1.6, 1.0 + 0.17 * len(lines))
    return Figure(f"methods-{task}", f"Gains and losses on {task}", caption, draw, size)


def mark(ax: Any, found: Difference | None, y: float, look: dict[str, Any]) -> None:
    if found is not None:
        dot(ax, found.interval or Interval.exact(found.points), y, **look)


def published(line: dict[str, Any]) -> str:
    row = line["point"].row
    slots = row.exit, row.reduction, row.objective, row.schedule
    kinds = [method.kind for method in slots if method is not None]
    return next((PUBLISHED[kind] for kind in kinds if kind in PUBLISHED), "")


def table_of(task: str, at: float, lines: Sequence[dict[str, Any]]) -> Table:
    caption = (
        f"Thresholds of every method were fitted for {at:g} of the full FLOPs on the calibration "
        "cut; fixed depth is the same weights with everybody leaving at one layer. Bold: better by "
        "its 95 % interval. Published numbers are of other bodies, tasks and clocks."
    )
    if len(lines) >= MANY:
        bold = f"{len(lines) / 40:.0f} of {len(lines)}"
        caption += f" By chance alone about {bold} in a column would be bold."
    columns = [*LINE, *CONVERSIONS, col.word("published", "as published")]
    return col.table(f"methods-{task}", f"Methods on {task}", caption, columns, lines)


def answers(task: str, at: float, lines: Sequence[dict[str, Any]]) -> Iterator[str]:
    """How many gain, and the two ends."""
    known = [line for line in lines if line["gain"] and line["gain"].interval]
    shown = [line for line in known if line["gain"].interval.low > 0]
    yield (
        f"{task}: {len(shown)} of {len(known)} methods gain over fixed depth by their interval at "
        f"budget {at:g}."
    )
    for word, ends in (("most", known[:1]), ("least", known[1:][-1:])):
        for line in ends:
            yield f"{task}: {line['model']} gains {word}, {points_text(line['gain'])} points."
