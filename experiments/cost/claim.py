"""Cost by the paper's formulas (EAT, section 5), counted FLOPs and measured time, side by side.

    python -m experiments.cost.claim study=outputs/frontier

Needs rows with their examples: python -m eat_lightning.measure run=outputs/frontier.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import mean
from typing import Any

from eat_lightning.errors import ConfigError
from eat_lightning.report import cells
from eat_lightning.report.claim import Cell, Claim, Figure, Mark, Table
from eat_lightning.report.columns import Made, number, table, word
from eat_lightning.report.compare import source_of, speed_up
from eat_lightning.report.figures import INK, SERIES, model_name
from eat_lightning.report.statistics import Interval
from eat_lightning.report.study import Point, Study

from .formulas import Expected, coefficients, expected

BARS = ("by formulas (4) and (5)", "counted FLOPs", "time, batch 1", "time, batch {batch}")
COLORS = (SERIES[7], SERIES[1], SERIES[0], SERIES[4])
CONVERSIONS = ("conversion", "batch_conversion")
BETA_ONLY = "its run is not at hand, so the widths are unknown: the beta term alone"
NO_WINDOW = "k is longer than most of these texts: the formula counts more pairs than there are"


def claim(study: Study) -> Claim:
    """For each task a table and a figure, and how much of what FLOPs promise time keeps."""
    tasks = {task: made for task in study.tasks if (made := costs_of(study, task))}
    if not tasks:
        raise ConfigError(
            "no adaptive row has its examples beside it: python -m eat_lightning.measure "
            "run=outputs/<study>"
        )
    return Claim(
        "cost",
        "Cost: by the formulas, counted and measured",
        [line for task, made in tasks.items() for line in answers(task, made)],
        [table_of(task, made) for task, made in tasks.items()],
        [figure_of(task, made) for task, made in tasks.items()],
        notes(study, [costs for made in tasks.values() for costs in made]),
    )


@dataclass
class Costs:
    """A setting's costs, each as a share of own static's."""

    point: Point
    model: str
    found: list[Expected]
    widths_known: bool

    @property
    def bars(self) -> list[Interval | None]:
        """In the order of BARS."""
        formula, counted = self.mean(lambda e: e.ratio), self.point.mean("flops_ratio") or 0.0
        single, batch = speed_up(self.point), speed_up(self.point, "batch_")
        return [exact(formula), exact(counted), inverse(single), inverse(batch)]

    def mean(self, of: Callable[[Expected], float]) -> float:
        """Over seeds."""
        return mean(of(e) for e in self.found)

    @property
    def window_too_long(self) -> bool:
        return any(e.window is not None and e.window > e.tokens_L[0] for e in self.found)


def exact(value: float) -> Interval:
    return Interval(value, value, value)


def inverse(found: Interval | None) -> Interval | None:
    """Time as a share of own static's, of a speed-up."""
    return None if found is None else Interval(1 / found.value, 1 / found.high, 1 / found.low)


def costs_of(study: Study, task: str) -> list[Costs]:
    """Of the adaptive settings whose examples are at hand."""
    rows = [m.row for m in study.measured]
    made = []
    for point in study.points(task=task, baseline=""):
        found = [e for m in point.members if (e := expected(study, m)) is not None]
        if not point.is_static and len(found) == len(point.members):
            known = all(coefficients(study, m) for m in point.members)
            made.append(Costs(point, model_name(point.row, rows), found, known))
    return made


def answers(task: str, made: list[Costs]) -> list[str]:
    """Of each model at the setting with the fewest FLOPs."""
    best: dict[str, Costs] = {}
    for costs in made:
        other = best.setdefault(costs.model, costs)
        if (costs.point.mean("flops") or 0.0) < (other.point.mean("flops") or 0.0):
            best[costs.model] = costs
    return [answer(task, costs) for costs in best.values()]


def answer(task: str, costs: Costs) -> str:
    point, (formula, counted, single, batch) = costs.point, costs.bars
    size = point.row.throughput_batch
    told = {"the formulas promise": formula, "counted are": counted}
    told |= {"measured are, at batch 1,": single, f"at batch {size}": batch}
    parts = [f"{what} {found.value:.2f}" for what, found in told.items() if found is not None]
    kept = [value for name in CONVERSIONS if (value := point.mean(name)) is not None]
    end = f"; conversion {' and '.join(f'{value:.2f}' for value in kept)}" if kept else ""
    where = f"{task}, {costs.model}, {point.setting}"
    return f"{where}: of own static's cost {', '.join(parts)}{end}."


def share(found: Interval | None) -> Cell:
    """Bold where it is below 1 by its interval."""
    if found is None:
        return cells.EMPTY
    flags = (cells.SPANS_ONE,) if found.low <= 1 <= found.high else ()
    text = f"{found.value:.3f} ({found.low:.3f} to {found.high:.3f})"
    return Cell(found.value, text, found.low, found.high, flags, bold=found.high < 1)


def formula_cell(costs: Costs) -> Cell:
    value = costs.mean(lambda e: e.ratio)
    flags = () if costs.widths_known else (BETA_ONLY,)
    flags += (NO_WINDOW,) if costs.window_too_long else ()
    return Cell(value, f"{value:.3f}", flags=flags)


def of_row(name: str, title: str, digits: int, help: str) -> Made[Costs]:
    return number(name, title, lambda c: c.point.mean(name), digits, help)


def of_formula(key: str, title: str, help: str, of: Callable[[Expected], float]) -> Made[Costs]:
    return number(key, title, lambda c: c.mean(of), 3, help)


COLUMNS: list[Made[Costs]] = [
    word("model", "model", lambda c: c.model),
    word("setting", "setting", lambda c: c.point.setting),
    Made(
        *("num_examples", "n", lambda c: cells.several(c.point, "num_examples"), "examples", False)
    ),
    Made("seeds", "seeds", lambda c: cells.several(c.point, "seed"), "", False),
    Made("formula", "(5) / (4)", formula_cell, "expected cost by the formulas"),
    of_row("flops_ratio", "counted", 3, "FLOPs of what each example ran, / own static's"),
    Made(
        *("time", "time, batch 1", lambda c: share(c.bars[2])),
        "of own static's (extremes of repeats)",
    ),
    Made(
        *("batch_time", "time, batches", lambda c: share(c.bars[3])),
        "of own static's, as they come",
    ),
    of_row("conversion", "conversion, batch 1", 2, "speed-up / FLOPs speed-up, batch 1"),
    of_row("batch_conversion", "conversion, batches", 2, "speed-up / FLOPs speed-up, in batches"),
    of_formula("active", "p-bar", "mean over layers of Pr(L' >= l)", lambda e: e.active),
    of_formula(
        "kept", "r-bar", "mean over layers of E[T_l] / T, none leaving", lambda e: e.retention
    ),
    of_formula("product", "of both", "mean over layers of their product", lambda e: e.product),
    of_formula("ran", "run", "token-layers that the examples ran / all", lambda e: e.ran),
    number("tokens", "T", lambda c: c.mean(lambda e: e.tokens_L[0]), 1, "tokens at first, mean"),
    number(
        *("attention", "attention %"),
        lambda c: 100 * c.mean(lambda e: e.attention) if c.widths_known else None,
        *(1, "of a dense layer's cost, by formula (4)"),
    ),
]


def table_of(task: str, made: list[Costs]) -> Table:
    caption = "Each cost as a share of own static's, which is 1. Bold: below 1 by its interval."
    return table(f"cost-{task}", f"Cost on {task}", caption, COLUMNS, made, lambda c: c.point)


def figure_of(task: str, made: list[Costs]) -> Figure:
    name, batch = f"cost-{task}", made[0].point.row.throughput_batch
    titles = [title.format(batch=batch) for title in BARS]

    def draw(drawing: Any) -> None:
        from matplotlib.patches import Patch

        ax = drawing.add_subplot()
        for i, costs in enumerate(made):
            draw_bars(ax, i, costs, name)
        ax.axvline(1, color=INK, linewidth=0.8)
        ax.set_yticks(range(len(made)), [f"{c.model} {c.point.setting}" for c in made])
        ax.set_ylim(len(made) - 0.5, -0.5)
        ax.grid(visible=False, axis="y")
        ax.tick_params(axis="y", length=0)
        ax.text(1.02, 1.01, f"conversion\n1 | {batch}", va="bottom", transform=ax.transAxes)
        ax.set_xlabel("cost, as a share of own static's")
        handles = [
            Patch(color=color, label=title) for color, title in zip(COLORS, titles, strict=True)
        ]
        drawing.legend(handles=handles, loc="outside lower left", ncols=4, handlelength=1)

    caption = (
        "Each setting's cost with the same weights dense, whole and at full depth as 1 (the line): "
        "by the paper's formulas from the measured retention and exit shares, by counting, and by "
        "the clock (lines: extremes of the repeats). At the right the conversion, speed-up / FLOPs "
        f"speed-up, at batch 1 and at batch {batch}: 1 keeps all that counting promises."
    )
    marks = [m for i, costs in enumerate(made) for m in marks_of(name, i, costs, titles)]
    return Figure(name, f"Cost on {task}", caption, draw, (6.5, 1.1 + 0.45 * len(made)), marks)


def draw_bars(ax: Any, place: int, costs: Costs, name: str) -> None:
    height = 0.19
    for k, found in enumerate(costs.bars):
        if found is not None:
            y = place + (k - 1.5) * height
            bars = ax.barh([y], [found.value], height=height * 0.9, color=COLORS[k], linewidth=0)
            bars.patches[0].set_gid(f"{name}-{place}-{k}")
            ax.plot([found.low, found.high], [y, y], color=INK, linewidth=0.9)
    kept = [v for key in CONVERSIONS if (v := costs.point.mean(key)) is not None]
    told = " | ".join(f"{value:.2f}" for value in kept)
    ax.text(1.02, place, told, va="center", transform=ax.get_yaxis_transform())


def marks_of(name: str, place: int, costs: Costs, titles: list[str]) -> list[Mark]:
    made = []
    kept = [
        (what, f"{value:.2f}")
        for what, key in zip(("conversion", "conversion in batches"), CONVERSIONS, strict=True)
        if (value := costs.point.mean(key)) is not None
    ]
    seeds = ("seeds", ", ".join(map(str, costs.point.seeds)))
    for k, (title, found) in enumerate(zip(titles, costs.bars, strict=True)):
        if found is not None:
            text = share(found).text if found.high > found.low else f"{found.value:.3f}"
            head, details = f"{costs.model}, {costs.point.setting}", ((title, text), *kept, seeds)
            made.append(Mark(f"{name}-{place}-{k}", head, details, source_of(costs.point)))
    return made


def notes(study: Study, made: list[Costs]) -> list[str]:
    """Why the three differ, with this study's numbers."""
    found = [
        "Coefficients in FLOPs: alpha = alpha' = 4 d, beta = 8 d^2 + 4 d d_ff. Formula (5) has "
        "alpha' E[T_l] k where attention has a window of k, and alpha E[T_l^2] where it is dense. "
        "Counting has also exit heads and what a reduction reads; a window is a mask there, which "
        "computes all pairs.",
        "Formula (5) multiplies Pr(L' >= l) by E[T_l], a product of means, as if those who stay "
        f"were of the same length as all: {between(made)}",
    ]
    known = [c.mean(lambda e: e.attention) for c in made if c.widths_known]
    if known:
        least, most = (f"{100 * value:.1f}" for value in (min(known), max(known)))
        part = least if least == most else f"{least} to {most}"
        found.append(
            f"Attention, the quadratic term, is {part} % "
            "of a dense layer's cost at these lengths: proposition 1 (linear for quadratic) saves "
            "at most that. What saves is fewer tokens and fewer layers."
        )
    left_out = [p.name for p in study.points(baseline="") if not p.is_static]
    left_out = [name for name in left_out if name not in {c.point.name for c in made}]
    if left_out:
        found.append(f"Left out, since their examples are not at hand: {', '.join(left_out)}.")
    return found


def between(made: list[Costs]) -> str:
    """How far the product of means is from what was run."""
    pairs = [(e.product, e.ran) for costs in made for e in costs.found]
    product, ran = max(pairs, key=lambda pair: abs(pair[0] / pair[1] - 1))
    return (
        f"at most {100 * abs(product / ran - 1):.1f} % {'below' if product < ran else 'above'} the "
        f"token-layers that were run ({product:.3f} for {ran:.3f})."
    )


if __name__ == "__main__":
    from eat_lightning.report.__main__ import show_claim

    show_claim(__file__)
