"""Cost by the paper's formulas (EAT, section 5), counted FLOPs and measured time, side by side.

    python -m experiments cost study=outputs/frontier

Needs rows with their examples: python -m eat_lightning.measure run=outputs/frontier.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import mean
from typing import Any

from eat_lightning.report.claim import Cell, Claim, Figure, Mark, Table
from eat_lightning.report.columns import field, interval, made, mark, number, table, values, word
from eat_lightning.report.compare import speed_up
from eat_lightning.report.figures import INK, SERIES
from eat_lightning.report.panels import bar, bare_rows
from eat_lightning.report.passes import seeds_text
from eat_lightning.report.statistics import Interval
from eat_lightning.report.study import Point, Study

from .formulas import Expected, coefficients, expected

BARS = ("by formulas (4) and (5)", "counted FLOPs", "time, batch 1", "time, batch {batch}")
COLORS = (SERIES[7], SERIES[1], SERIES[0], SERIES[4])
CONVERSIONS = {"conversion": "conversion", "batch_conversion": "conversion in batches"}
BETA_ONLY = "its run is not at hand, so the widths are unknown: the beta term alone"
NO_WINDOW = "k is longer than most of these texts: the formula counts more pairs than there are"
HEIGHT = 0.19  # of a bar


@dataclass
class Costs:
    """A setting's costs, each as a share of own static's."""

    point: Point
    model: str
    found: list[Expected]
    widths_known: bool

    @cached_property
    def bars(self) -> list[Interval | None]:
        """In the order of BARS."""
        counted = self.point.mean("flops_ratio") or 0.0
        timed = [speed_up(self.point), speed_up(self.point, "batch_")]
        shares = [found and found.inverse for found in timed]
        return [Interval.exact(self.mean("ratio")), Interval.exact(counted), *shares]

    def mean(self, name: str) -> float:
        """One of `Expected`'s, over seeds."""
        return mean(getattr(each, name) for each in self.found)

    @property
    def conversions(self) -> dict[str, str]:
        known = {title: self.point.mean(name) for name, title in CONVERSIONS.items()}
        return {title: f"{value:.2f}" for title, value in known.items() if value is not None}

    @property
    def window_too_long(self) -> bool:
        return any(e.window is not None and e.window > e.tokens for e in self.found)


def claim(study: Study) -> Claim:
    """For each task a table and a figure, and how much of what FLOPs promise time keeps."""
    tasks = {task: found for task in study.tasks if (found := costs_of(study, task))}
    whole = Claim("cost", "Cost: by the formulas, counted and measured")
    for task, found in tasks.items():
        whole.add(answers(task, found), [table_of(task, found)], [figure_of(task, found)])
    every = [costs for found in tasks.values() for costs in found]
    whole.add(notes=notes(study, every) if every else ())
    return whole.or_lacking(
        "no adaptive row has its examples beside it: python -m eat_lightning.measure "
        "run=outputs/<study>"
    )


def costs_of(study: Study, task: str) -> list[Costs]:
    """Those of the adaptive settings whose examples are at hand."""
    found = []
    for point in study.points(task=task, baseline=""):
        each = [e for m in point.members if (e := expected(study, m)) is not None]
        if not point.is_static and len(each) == len(point.members):
            known = all(coefficients(study, m) for m in point.members)
            found.append(Costs(point, study.name_of(point.row), each, known))
    return found


def answers(task: str, found: Sequence[Costs]) -> Iterator[str]:
    """A line for each model, at the setting with the fewest FLOPs."""
    best: dict[str, Costs] = {}
    for costs in sorted(found, key=lambda costs: costs.point.mean("flops") or 0.0):
        best.setdefault(costs.model, costs)
    for model in dict.fromkeys(costs.model for costs in found):
        yield answer(task, best[model])


def answer(task: str, costs: Costs) -> str:
    size = costs.point.row.throughput_batch
    heads = ["the formulas promise", "counted are", "measured are, at batch 1,", f"at batch {size}"]
    parts = [
        f"{what} {found.value:.2f}" for what, found in zip(heads, costs.bars, strict=True) if found
    ]
    kept = " and ".join(costs.conversions.values())
    end = f"; conversion {kept}" if kept else ""
    where = f"{task}, {costs.model}, {costs.point.setting}"
    return f"{where}: of own static's cost {', '.join(parts)}{end}."


def formula_cell(costs: Costs) -> Cell:
    value = costs.mean("ratio")
    flags = () if costs.widths_known else (BETA_ONLY,)
    flags += (NO_WINDOW,) if costs.window_too_long else ()
    return Cell(value, f"{value:.3f}", flags=flags)


def of_formula(key: str, title: str, help: str, name: str = "", digits: int = 3) -> Any:
    return number(key, title, lambda costs: costs.mean(name or key), digits, help)


def of_time(key: str, title: str, place: int, help: str) -> Any:
    how = {"digits": 3, "against": 1, "lower": True}
    return interval(key, title, lambda costs: costs.bars[place], f"of own static's {help}", **how)


COLUMNS = [
    word("model", "model", "model"),
    word("setting", "setting", "point.setting"),
    values("num_examples", "n", "examples"),
    values("seed", "seeds", key="seeds"),
    made("formula", "(5) / (4)", formula_cell, "expected cost by the formulas"),
    field("flops_ratio", "counted", 3, "FLOPs of what each example ran, / own static's"),
    of_time("time", "time, batch 1", 2, "(extremes of repeats)"),
    of_time("batch_time", "time, batches", 3, "as they come"),
    field("conversion", "conversion, batch 1", 2, "speed-up / FLOPs speed-up, batch 1"),
    field("batch_conversion", "conversion, batches", 2, "speed-up / FLOPs speed-up, in batches"),
    of_formula("active", "p-bar", "mean over layers of Pr(L' >= l)"),
    of_formula("kept", "r-bar", "mean over layers of E[T_l] / T, none leaving", "retention"),
    of_formula("product", "of both", "mean over layers of their product"),
    of_formula("ran", "run", "token-layers that the examples ran / all"),
    of_formula("tokens", "T", "tokens at first, mean", digits=1),
    number(
        "attention",
        "attention %",
        lambda costs: 100 * costs.mean("attention") if costs.widths_known else None,
        1,
        "of a dense layer's cost, by formula (4)",
    ),
]


def table_of(task: str, found: Sequence[Costs]) -> Table:
    caption = "Each cost as a share of own static's, which is 1. Bold: below 1 by its interval."
    return table(f"cost-{task}", f"Cost on {task}", caption, COLUMNS, found)


def figure_of(task: str, found: Sequence[Costs]) -> Figure:
    name, batch = f"cost-{task}", found[0].point.row.throughput_batch
    titles = [title.format(batch=batch) for title in BARS]

    def draw(drawing: Any) -> None:
        from matplotlib.patches import Patch

        ax = drawing.add_subplot()
        for i, costs in enumerate(found):
            draw_bars(ax, i, costs, name)
        ax.axvline(1, color=INK, linewidth=0.8)
        bare_rows(ax, [f"{c.model} {c.point.setting}" for c in found])
        ax.text(1.02, 1.01, f"conversion\n1 | {batch}", va="bottom", transform=ax.transAxes)
        ax.set_xlabel("cost, as a share of own static's")
        patches = [Patch(color=color) for color in COLORS]
        drawing.legend(patches, titles, loc="outside lower left", ncols=4, handlelength=1)

    caption = (
        "Each setting's cost with the same weights dense, whole and at full depth as 1 (the line): "
        "by the paper's formulas from the measured retention and exit shares, by counting, and by "
        "the clock (lines: extremes of the repeats). At the right the conversion, speed-up / FLOPs "
        f"speed-up, at batch 1 and at batch {batch}: 1 keeps all that counting promises."
    )
    marks = [m for i, costs in enumerate(found) for m in marks_of(name, i, costs, titles)]
    return Figure(name, f"Cost on {task}", caption, draw, (6.5, 1.1 + 0.45 * len(found)), marks)


def draw_bars(ax: Any, place: int, costs: Costs, name: str) -> None:
    for k, found in enumerate(costs.bars):
        if found is not None:
            bar(ax, f"{name}-{place}-{k}", place + (k - 1.5) * HEIGHT, found, HEIGHT, COLORS[k])
    told = " | ".join(costs.conversions.values())
    ax.text(1.02, place, told, va="center", transform=ax.get_yaxis_transform())


def marks_of(name: str, place: int, costs: Costs, titles: list[str]) -> Iterator[Mark]:
    seeds = {"seeds": seeds_text(costs.point)}
    for k, (title, found) in enumerate(zip(titles, costs.bars, strict=True)):
        if found is not None:
            text = found.text(3) if found.high > found.low else f"{found.value:.3f}"
            head, details = f"{costs.model}, {costs.point.setting}", {title: text}
            details |= costs.conversions | seeds
            yield mark(f"{name}-{place}-{k}", head, costs.point, details)


def notes(study: Study, found: Sequence[Costs]) -> Iterator[str]:
    """Why the three differ, with this study's numbers."""
    yield (
        "Coefficients in FLOPs: alpha = alpha' = 4 d, beta = 8 d^2 + 4 d d_ff. Formula (5) has "
        "alpha' E[T_l] k where attention has a window of k, and alpha E[T_l^2] where it is dense. "
        "Counting has also exit heads and what a reduction reads; a window is a mask there, which "
        "computes all pairs."
    )
    yield (
        "Formula (5) multiplies Pr(L' >= l) by E[T_l], a product of means, as if those who stay "
        f"were of the same length as all: {between(found)}"
    )
    if known := [c.mean("attention") for c in found if c.widths_known]:
        least, most = (f"{100 * value:.1f}" for value in (min(known), max(known)))
        yield (
            f"Attention, the quadratic term, is {least if least == most else f'{least} to {most}'} "
            "% of a dense layer's cost at these lengths: proposition 1 (linear for quadratic) "
            "saves at most that. What saves is fewer tokens and fewer layers."
        )
    shown = [costs.point.members for costs in found]
    adaptive = [p for p in study.points(baseline="") if not p.is_static]
    left_out = [p for p in adaptive if p.members not in shown]
    if left_out:
        names = ", ".join(f"{study.name_of(p.row)} {p.setting}" for p in left_out)
        yield f"Left out, since their examples are not at hand: {names}."


def between(found: Sequence[Costs]) -> str:
    """How far the product of means is from what was run."""
    pairs = [(e.product, e.ran) for costs in found for e in costs.found]
    product, ran = max(pairs, key=lambda pair: abs(pair[0] / pair[1] - 1))
    return (
        f"at most {100 * abs(product / ran - 1):.1f} % {'below' if product < ran else 'above'} the "
        f"token-layers that were run ({product:.3f} for {ran:.3f})."
    )
