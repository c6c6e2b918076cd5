"""Cost by the paper's formulas (EAT, section 5), counted FLOPs and measured time, side by side.

    eat report study=outputs/frontier claims=[cost]

Needs rows with their examples: python -m eat_lightning.measure run=outputs/frontier.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from matplotlib.patches import Patch
from pandas import DataFrame

from eat_lightning.report import columns as col
from eat_lightning.report.claims.cost.formulas import coefficients, expected
from eat_lightning.report.figures import INK, SERIES, Figure
from eat_lightning.report.intervals import Interval
from eat_lightning.report.panels import bar, bare_rows
from eat_lightning.report.section import Section
from eat_lightning.report.speed import speed_up
from eat_lightning.report.study import Mark, Study
from eat_lightning.report.table import Cell, Table

BARS = ("by formulas (4) and (5)", "counted FLOPs", "time, batch 1", "time, batch {batch}")
COLORS = (SERIES[7], SERIES[1], SERIES[0], SERIES[4])
CONVERSIONS = {"conversion": "conversion", "batch_conversion": "conversion in batches"}
BETA_ONLY = "its run is missing, so the widths are unknown and only the beta term is used"
NO_WINDOW = "k exceeds the length of most of these texts, so the formula counts too many pairs"
HEIGHT = 0.19  # of a bar
TIME: dict[str, Any] = {"digits": 3, "against": 1, "lower": True}
OWN, CONVERTED = "of own static's", "speed-up / FLOPs speed-up"
COLUMNS = [
    col.word("model", "model"),
    col.word("setting", "setting"),
    col.values("num_examples", "n", "examples"),
    col.seeds(),
    col.number("formula", "(5) / (4)", help="expected cost by the formulas"),
    col.field(
        "flops_ratio",
        "counted",
        3,
        "FLOPs of the layers that each example ran, as a share of own static's",
    ),
    col.interval("time", "time, batch 1", help=f"{OWN} (extremes of repeats)", **TIME),
    col.interval("batch_time", "time, batches", help=f"{OWN}, in order of arrival", **TIME),
    col.field("conversion", "conversion, batch 1", 2, f"{CONVERTED}, batch 1"),
    col.field("batch_conversion", "conversion, batches", 2, f"{CONVERTED}, in batches"),
    col.number("active", "p-bar", digits=3, help="mean over layers of Pr(L' >= l)"),
    col.number("kept", "r-bar", digits=3, help="mean over layers of E[T_l] / T, without exits"),
    col.number("product", "of both", digits=3, help="mean over layers of their product"),
    col.number(
        "ran", "run", digits=3, help="token-layers that the examples ran / all token-layers"
    ),
    col.number("tokens", "T", digits=1, help="mean number of input tokens"),
    col.number(
        "attention", "attention %", digits=1, help="of a dense layer's cost, by formula (4)"
    ),
]
Line = dict[str, Any]
PLACE = 60  # on the page


def claim(study: Study) -> Section:
    """Return a table and a figure per task, and how much of the FLOPs reduction shows in time."""
    every, whole = [], Section("cost", "Cost by formula, count and time")
    for task in study.tasks:
        points = [p for p in study.points(task=task, baseline="") if not p.is_static]
        if found := [line for point in points if (line := line_of(study, point)) is not None]:
            whole.add(answers(task, found), [table_of(task, found)], [figure_of(task, found)])
            every += found
    whole.add(notes=notes(study, every) if every else ())
    return whole.or_lacking(
        "no adaptive row has its examples beside it: python -m eat_lightning.measure "
        "run=outputs/<study>"
    )


def line_of(study: Study, point: Mark) -> Line | None:
    """Return a setting's costs as shares of own static's, and the factors of the formulas as means
    over seeds. None without stored examples. `bars` is in the order of BARS.
    """
    found = [expected(study, m) for m in point.members]
    seeds: Any = DataFrame([each.terms for each in found if each is not None])
    if len(seeds) < len(found):
        return None
    means, known = seeds.mean(), all(coefficients(study, m) for m in point.members)
    flags = [] if known else [BETA_ONLY]
    flags += [NO_WINDOW] if seeds["too_long"].any() else []
    ratio = means["ratio"]
    timed = [speed_up(point), speed_up(point, "batch_")]
    single, batch = (each and each.inverse for each in timed)
    counted = Interval.exact(point.mean("flops_ratio") or 0.0)
    conversions = {title: point.mean(name) for name, title in CONVERSIONS.items()}
    return {
        **{name: means[name] for name in ("active", "kept", "product", "ran", "tokens")},
        "model": study.name_of(point.row),
        "setting": point.title,
        "point": point,
        "formula": Cell(ratio, f"{ratio:.3f}", flags=tuple(flags)),
        "time": single,
        "batch_time": batch,
        "attention": 100 * means["attention"] if known else None,
        "bars": [Interval.exact(ratio), counted, single, batch],
        "conversions": {title: f"{x:.2f}" for title, x in conversions.items() if x is not None},
        "seeds_of": seeds,
    }


def table_of(task: str, found: Sequence[Line]) -> Table:
    caption = "Each cost as a share of own static's. Bold: significantly below 1."
    return col.table(f"cost-{task}", f"Cost on {task}", caption, COLUMNS, found)


def answers(task: str, found: Sequence[Line]) -> Iterator[str]:
    """Yield a sentence per model, about the setting with the fewest FLOPs."""
    for model in dict.fromkeys(line["model"] for line in found):
        own = [line for line in found if line["model"] == model]
        best = min(own, key=lambda line: line["point"].mean("flops") or 0.0)
        size, kept = best["point"].row.throughput_batch, " and ".join(best["conversions"].values())
        heads = ("the formulas predict cost", "counted FLOPs are", "time at batch 1 is")
        bars = zip((*heads, f"time at batch {size} is"), best["bars"], strict=True)
        parts = ", ".join(f"{what} {bar.value:.2f}" for what, bar in bars if bar)
        end = f"; conversion {kept}" if kept else ""
        yield f"{task}, {model}, {best['setting']}, relative to own static: {parts}{end}."


def figure_of(task: str, found: Sequence[Line]) -> Figure:
    batch = found[0]["point"].row.throughput_batch
    titles = [title.format(batch=batch) for title in BARS]

    def draw(drawing: Any) -> None:
        ax = drawing.add_subplot()
        for place, line in enumerate(found):
            draw_bars(ax, place, line)
        ax.axvline(1, color=INK, linewidth=0.8)
        bare_rows(ax, [f"{line['model']} {line['setting']}" for line in found])
        ax.text(1.02, 1.01, f"conversion\n1 | {batch}", va="bottom", transform=ax.transAxes)
        ax.set_xlabel("cost, as a share of own static's")
        patches = [Patch(color=color) for color in COLORS]
        drawing.legend(patches, titles, loc="outside lower left", ncols=4, handlelength=1)

    caption = (
        "Each setting's cost as a share of the same weights without pruning, window and exits: "
        "by the paper's formulas with the measured retention and exit shares, by counting, and "
        "by time (lines: range over repeats). At the right the conversion, speed-up / FLOPs "
        f"speed-up, at batch 1 and at batch {batch}: 1 keeps all that counting promises."
    )
    size = (6.5, 1.1 + 0.45 * len(found))
    return Figure(f"cost-{task}", f"Cost on {task}", caption, draw, size)


def draw_bars(ax: Any, place: int, line: Line) -> None:
    for k, found in enumerate(line["bars"]):
        if found is not None:
            bar(ax, place + (k - 1.5) * HEIGHT, found, HEIGHT, COLORS[k])
    told = " | ".join(line["conversions"].values())
    ax.text(1.02, place, told, va="center", transform=ax.get_yaxis_transform())


def notes(study: Study, found: Sequence[Line]) -> Iterator[str]:
    """Explain with this study's numbers why the three costs differ."""
    yield (
        "Coefficients in FLOPs: alpha = alpha' = 4 d, beta = 8 d^2 + 4 d d_ff. Formula (5) has "
        "alpha' E[T_l] k where attention has a window of k, and alpha E[T_l^2] where it is "
        "dense. Counted FLOPs also include exit heads and the inputs of a reduction; a window "
        "counts as a mask, which computes all pairs."
    )
    pairs = [pair for line in found for pair in line["seeds_of"][["product", "ran"]].to_numpy()]
    product, ran = max(pairs, key=lambda pair: abs(pair[0] / pair[1] - 1))
    yield (
        "Formula (5) multiplies Pr(L' >= l) by E[T_l], a product of means, as if examples that "
        f"stay were as long as all: at most {100 * abs(product / ran - 1):.1f} % "
        f"{'below' if product < ran else 'above'} the token-layers that were run ({product:.3f} "
        f"for {ran:.3f})."
    )
    if known := [line["attention"] for line in found if line["attention"] is not None]:
        ends = dict.fromkeys(f"{value:.1f}" for value in (min(known), max(known)))
        yield (
            f"Attention, the quadratic term, is {' to '.join(ends)} % of a dense layer's cost "
            "at these lengths: proposition 1 (linear instead of quadratic) saves at most that. "
            "Most savings come from fewer tokens and fewer layers."
        )
    shown = [line["point"].members for line in found]
    adaptive = [p for p in study.points(baseline="") if not p.is_static]
    if left_out := [p for p in adaptive if p.members not in shown]:
        names = ", ".join(f"{study.name_of(p.row)} {p.setting}" for p in left_out)
        yield f"Left out, because their examples were not stored: {names}."
