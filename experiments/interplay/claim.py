"""Token pruning with exits: what part of the single savings multiplies, which inputs each lever
saves on, and what one takes from the other (as asked by Magic Pyramid, He et al. 2021).

    python -m experiments interplay study=outputs/interplay

Needs a model without a reduction and others with one, with heads at every layer, measured in one
call: experiments/interplay/page.md has the commands. Without arguments: our own rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from matplotlib.lines import Line2D

from eat_lightning.report import columns as col
from eat_lightning.report.claim import Claim
from eat_lightning.report.difference import difference
from eat_lightning.report.figures import INK, SERIES, Figure
from eat_lightning.report.intervals import Interval
from eat_lightning.report.panels import bare_rows, dot
from eat_lightning.report.speed import EXTREMES, faster, multiplied, single_ms
from eat_lightning.report.study import Study
from eat_lightning.report.table import Table

from .factorial import Cell, Factorial, Pair, factorials, left_out

NEED = (
    "no unpruned model beside a pruned one, with records: the runs to train and to measure are "
    "named in experiments/interplay/page.md"
)
PAIRED = "95 % interval: paired bootstrap over the examples"
ONE: dict[str, Any] = {"against": 1}
ZERO: dict[str, Any] = {"against": 0, "sign": "+"}
Lines = list[dict[str, Any]]
THIRDS = ("short", "middle", "long")
LEAST = 0.02  # of FLOPs: what saves less alone has no part that could be left
CELL = [
    col.word("training", "trained with"),
    col.word("reduction", "tokens"),
    col.word("setting", "exits"),
    col.seeds("seed"),
]
COLUMNS = [
    *CELL,
    col.accuracy(),
    col.points("points", "Δ neither", help=f"points against neither lever; {col.PAIRED}"),
    col.field("depth", "depth", 2, "layers run, mean"),
    col.number("flops", "FLOPs", digits=3, help="counted, share of neither's"),
    col.number("product", "product", digits=3, help="of the single shares"),
    col.interval("kept", "saved / product", help=f"1: savings multiply; {PAIRED}", **ONE),
    col.field("latency_ms", "ms", 2, "batch 1, mean"),
    col.interval("time_ratio", "times / product", help=f"as fast, batch 1; {EXTREMES}", **ONE),
    *map(col.values, ("num_examples", "commit")),
]
TAKEN = [
    *CELL,
    col.interval("left", "pruning left", help=f"part of what it saves alone; {PAIRED}", **ONE),
    col.interval("in_place", "at exits' depths", help="the same, if nobody moved", **ONE),
    col.interval("interaction", "interaction", help="points beyond the single differences", **ZERO),
    col.interval("heads", "early heads", help="points by which they are right more often", **ZERO),
    col.interval("later", "layers later", help="under the same rule", **ZERO),
]
LENGTHS = [
    *CELL,
    *(col.number(third, third, digits=1, help="% of FLOPs saved") for third in THIRDS),
    col.interval("longer", "long - short", help=f"points; {PAIRED}", **ZERO),
]
AT_BUDGET = [
    col.word("training", "trained with"),
    col.word("rule", "exits"),
    col.word("setting", "budget"),
    col.word("reduction", "tokens"),
    col.seeds("seed"),
    col.accuracy(),
    col.field("flops_ratio", "FLOPs", 3, "share of full"),
    col.points("points", "Δ exits alone", help=f"points, fitted for the same; {col.PAIRED}"),
]


def claim(study: Study) -> Claim:
    """For each task a table of cells, one of budgets, and a figure."""
    whole = Claim("interplay", "Token pruning with exits")
    for task in study.tasks:
        every = list(factorials(study, task))
        found = [factorial for factorial in every if factorial.thirds]
        if len(found) < len(every):
            whole.add(notes=[f"{task}: left out, texts of too few lengths to be cut in thirds."])
        lines = [line for factorial in found for line in lines_of(factorial)]
        whole.add(notes=left_out(study, task))
        if lines:
            budgets = [line for factorial in found for line in budget_lines(factorial)]
            tables = tables_of(task, found[0], lines, budgets)
            figures, notes = [figure_of(task, lines)], notes_of(task, found)
            whole.add(answers_of(task, lines, budgets), tables, figures, notes)
    return whole.or_lacking("; ".join([NEED, *whole.notes]))


def lines_of(factorial: Factorial) -> Iterator[dict[str, Any]]:
    neither = factorial.neither
    for (reduction, rule), cell in factorial.cells.items():
        line: dict[str, Any] = {"training": factorial.training, "reduction": reduction}
        line |= {"rule": rule, "setting": rule_text(cell), "point": cell.point}
        line |= dict(zip(THIRDS, factorial.saved(cell), strict=True))
        line["flops"] = factorial.share(cell)
        if cell is not neither:
            line["points"] = difference(cell.point, neither.point)
            line["longer"] = factorial.longer(cell)
        if reduction != "none":
            line |= {"heads": cell.heads, "later": cell.later if rule != "never" else None}
        if pair := factorial.pair(reduction, rule):
            line |= {"product": pair.product, "kept": pair.kept, "time_ratio": time_ratio(pair)}
            line["interaction"] = pair.interaction
            if factorial.share(pair.pruned) < 1 - LEAST:
                line |= {"left": pair.left, "in_place": pair.left_in_place}
        yield line


def rule_text(cell: Cell) -> str:
    """ "confidence, tau 0.8" """
    kind, title = cell.row.exit.kind, cell.row.title.partition(" at ")[0]
    return title if title.startswith(kind) else f"{kind}, {title}"


def time_ratio(pair: Pair) -> Interval | None:
    """Times as fast with both / the product of the single factors, batch 1; None unless all took
    turns in one session."""
    levers = (pair.both, pair.pruned, pair.early)
    found = [faster(cell.point, pair.neither.point, single_ms) for cell in levers]
    known = [each for each in found if each is not None]
    return known[0].over(multiplied(known[1:])) if len(known) == len(found) else None


def budget_lines(factorial: Factorial) -> Iterator[dict[str, Any]]:
    """Rules fitted for a budget with tokens gone, beside the same fitted with all of them."""
    for point in factorial.fitted:
        kind, alone = point.row.exit.kind, factorial.fitted_alone(point)
        yield {
            "training": factorial.training,
            "rule": kind,
            "setting": point.setting,
            "reduction": point.row.reduction.kind,
            "point": point,
            "points": None if alone is point else difference(point, alone),
        }


def tables_of(task: str, first: Factorial, lines: Lines, budgets: Lines) -> list[Table]:
    """Tables of cost and score, of one lever's effect on the other, of savings by length, and of
    both levers beside exits alone at equal budgets."""
    tokens = [first.neither.lengths_B[third] for third in first.thirds]
    lengths = ", ".join(f"{t.min()} to {t.max()} ({len(t)})" for t in tokens if len(t))
    cells = (
        "A rule has one setting under all reductions, the one that costs nearest to half of full "
        "FLOPs without pruning. Product: what both would cost if single savings multiplied."
    )
    taken = (
        "Pruning left: of the share that pruning alone saves of an example's FLOPs, the part that "
        "it still saves of those with exits; at exits' depths: the same if everybody left where "
        "they leave without pruning. Early heads, layers later: the same weights with tokens gone "
        "against all of them."
    )
    thirds = f"Thirds of the examples by tokens (examples): {lengths}."
    equal = "Thresholds fitted for one budget on the calibration cut, the reduction as trained."
    pairs, name = [line for line in lines if line["reduction"] != "none"], f"interplay-{task}"
    whole, budget = "Token pruning with exits", "With and without pruning at equal budgets"
    return [
        col.table(name, f"{whole} on {task}", cells, COLUMNS, lines),
        col.table(f"{name}-taken", "What one takes from the other", taken, TAKEN, pairs),
        col.table(f"{name}-lengths", "Who saves on what", thirds, LENGTHS, lines),
        col.table(f"{name}-budgets", f"{budget} on {task}", equal, AT_BUDGET, budgets),
    ]


def figure_of(task: str, lines: Lines) -> Figure:
    """Left: what each cell costs, beside the product; right: who saves on what, each alone."""
    single = singles(lines)
    rows = [*single.items(), *((name_of(line), line) for line in lines if both_in(line))]

    def draw(drawing: Any) -> None:
        left, right = drawing.subplots(1, 2, width_ratios=(3, 2))
        for place, (_, line) in enumerate(rows):
            dot(left, line["flops"], place, color=color_of(line), marker="o")
            if product := line.get("product"):
                left.plot([product] * 2, [place - 0.35, place + 0.35], color=INK, linewidth=1.6)
        bare_rows(left, [name for name, _ in rows])
        left.set(xlabel="FLOPs, share of neither's", xlim=(0, 1.05))
        for (name, line), marker in zip(single.items(), "osD^vPX" * 3, strict=False):
            style = "-" if line["rule"] == "never" else "--"
            saved, look = [line[third] for third in THIRDS], {"marker": marker, "markersize": 4}
            right.plot(THIRDS, saved, style, color=color_of(line), label=name, **look)
        right.set(xlabel="third of the examples, by tokens", ylabel="FLOPs saved alone (%)")
        tick = Line2D([], [], color=INK, marker="|", linestyle="", markersize=8, mew=1.6)
        drawing.legend([tick], ["single savings multiplied"], loc="outside upper left")
        drawing.legend(*right.get_legend_handles_labels(), loc="outside right center")

    caption = (
        "Left: counted FLOPs of each lever alone and of both; a tick is what the single shares "
        "multiply to. Right: what each lever alone saves on short, middle and long examples."
    )
    title = f"Token pruning with exits on {task}"
    return Figure(f"interplay-{task}", title, caption, draw, (7.4, 1.0 + 0.24 * len(rows)))


def both_in(line: dict[str, Any]) -> bool:
    return line["reduction"] != "none" and line["rule"] != "never"


def singles(lines: Lines) -> dict[str, dict[str, Any]]:
    """The levers alone, pruning with the first training that has it."""
    alone = [line for line in lines if not both_in(line) and "longer" in line]
    found: dict[str, dict[str, Any]] = {}
    for line in sorted(alone, key=lambda line: line["training"] == line["rule"]):
        found.setdefault(name_of(line), line)
    return found


def color_of(line: dict[str, Any]) -> str:
    if both_in(line):
        return SERIES[0]
    return SERIES[1] if line["reduction"] != "none" else SERIES[2]


def name_of(line: dict[str, Any]) -> str:
    """ "ltp + patience" """
    levers = [name for name in (line["reduction"], line["rule"]) if name not in ("none", "never")]
    return " + ".join(levers) or "neither"


def answers_of(task: str, lines: Lines, budgets: Lines) -> Iterator[str]:
    pairs, alone = [line for line in lines if both_in(line)], singles(lines).values()
    pruned = [line for line in alone if line["rule"] == "never"]
    early = [line for line in alone if line["reduction"] == "none"]
    tenths, longer = {"digits": 1, "sign": "+"}, "alone, FLOPs saved on long - short"
    told = [
        ("saved / what single savings would multiply to", pairs, "kept", {}),
        ("of what pruning saves alone exits leave", pairs, "left", {}),
        (f"pruning {longer}", pruned, "longer", tenths),
        (f"exits {longer}", early, "longer", tenths),
        ("layers later where tokens are gone", pairs, "later", {"sign": "+"}),
    ]
    for what, some, key, how in told:
        known = [line for line in some if line.get(key) is not None]
        if known:
            texts = "; ".join(f"{name_of(line)} {line[key].text(**how)}" for line in known)
            yield f"{task}, {what}: {texts}."
    found = [x["points"].interval for x in budgets if x["points"] and x["points"].interval]
    if found:
        above, below = sum(i.low > 0 for i in found), sum(i.high < 0 for i in found)
        yield (
            f"{task}, pruning at equal budgets: {above} of {len(found)} are shown to be above exits"
            f" alone, {below} below; for the rest nothing can be concluded."
        )


def notes_of(task: str, found: list[Factorial]) -> Iterator[str]:
    for factorial in found:
        if factorial.missing:
            cells = ", ".join(f"{r} x {x}" for r, x in factorial.missing)
            yield f"{task}, {factorial.training}: cells that are missing: {cells}."
        if not all(cell.point.timed for cell in factorial.cells.values()):
            yield f"{task}, {factorial.training}: not all cells were timed; FLOPs are counted."
        for name in factorial.doubled:
            yield f"{task}, {factorial.training}: several trainings of {name}; the first is shown."
