"""Where examples leave, how right they are, and how depth goes with the text (EAT, figure 6).

    python -m experiments.exits.claim study=outputs/frontier

Shares need rows alone, the rest their examples: python -m eat_lightning.measure
run=outputs/frontier. Difficulty is known of toy data: python -m eat_lightning.train data=toy ...
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean

from eat_lightning.errors import ConfigError
from eat_lightning.report import cells
from eat_lightning.report.claim import Cell, Claim, Column, Figure, Line, Table
from eat_lightning.report.compare import source_of
from eat_lightning.report.passes import Pass, passes
from eat_lightning.report.setting_table import MCNEMAR, ONE_SEED
from eat_lightning.report.statistics import Interval
from eat_lightning.report.study import Point, Study

from .depth import depth_figure
from .figure import left_figure, shares, shares_figure
from .leaving import Depth, Group, Leaving, by_difficulty, by_length, leaving

SAME = "95 % Wilson interval, over seeds as of one seed's number"
NO_EXAMPLES = "examples not at hand: the share alone"
COLUMNS = [
    Column("model", "model", numeric=False),
    Column("rule", "rule", numeric=False),
    Column("where", "left at", numeric=False),
    Column("seeds", "seeds", numeric=False),
    Column("n", "n", "examples that left there, mean over seeds"),
    Column("share", "share", "of all examples, percent, mean ± sd over seeds"),
    Column("accuracy", "right", f"of those that left there, percent; {SAME}"),
    Column("last", "last layer", "right of the last layer on the same examples, percent"),
    Column("harm", "harm", f"wrong where the last layer is right, percent of them; {SAME}"),
    Column("help", "help", f"right where the last layer is wrong, percent of them; {SAME}"),
    Column(
        *("to_last", "Δ last layer"),
        "points of the whole split's accuracy against the last layer; 95 % paired bootstrap over "
        "examples, seeds averaged",
    ),
    Column("p", "p", MCNEMAR),
    *(Column(k, k, numeric=False) for k in ("split", "dtype", "device", "commit")),
]
DEPTH_COLUMNS = [
    Column("model", "model", numeric=False),
    Column("rule", "rule", numeric=False),
    Column("bin", "examples of", numeric=False),
    Column("seeds", "seeds", numeric=False),
    Column("n", "n", "examples"),
    Column("depth", "depth", "layers run, mean; 95 % bootstrap over examples, seeds averaged"),
    Column("accuracy", "right", f"percent; {SAME}"),
]


def claim(study: Study) -> Claim:
    """A table and figures for each task in which some example leaves early."""
    tasks = {task: [p for p in passes(study, task) if p.early] for task in study.tasks}
    early = {task: found for task, found in tasks.items() if found}
    if not early:
        raise ConfigError(
            "no row here has an example that left early: python -m eat_lightning.measure "
            "run=outputs/<study> of runs with exits (head.layers=[3,4] exit=confidence)"
        )
    return Claim(
        "exits",
        "Early exits: who leaves where",
        [line for task, found in early.items() for p in found for line in answers(task, p)],
        [table for task, found in early.items() for table in tables_of(task, found)],
        [figure for task, found in early.items() for figure in figures_of(task, found)],
        notes(tasks),
    )


def figures_of(task: str, found: Sequence[Pass]) -> list[Figure]:
    made = [
        shares_figure(task, found),
        left_figure(task, found),
        depth_figure(task, "length", found, by_length),
        depth_figure(task, "difficulty", found, by_difficulty),
    ]
    return [figure for figure in made if figure is not None]


def tables_of(task: str, found: Sequence[Pass]) -> list[Table]:
    lines = [line for each in found for point in each.early for line in lines_of(each, point)]
    made = Table(
        f"exits-{task}",
        f"Who leaves where on {task}, and whether the layers skipped would have helped",
        "The last layer's guess on the same examples is what they would have got by staying.",
        COLUMNS,
        lines,
    )
    depth_lines = [line for each in found for line in depth_lines_of(each)]
    depth = Table(
        f"depth-{task}",
        f"Depth by the text, on {task}",
        "Of each model the rule nearest to tau 0.9; bins of length hold about equal numbers.",
        DEPTH_COLUMNS,
        depth_lines,
    )
    return [made, depth] if depth_lines else [made]


def lines_of(found: Pass, point: Point) -> list[Line]:
    rule = leaving(point)
    if rule is None:
        layers = sorted({int(k) for m in point.members for k in m.row.exit_shares})
        return [share_line(found, point, layer) for layer in layers]
    groups = [group for group in rule.groups if not group.stayed]
    groups += [rule.any_early] if len(groups) > 1 else []
    groups += [group for group in rule.groups if group.stayed]
    return [group_line(found, rule, group) for group in groups]


def share_line(found: Pass, point: Point, layer: int) -> Line:
    share = shares(point, layer)
    made = described(found, point) | {
        "where": cells.words(f"layer {layer}"),
        "share": cells.over_seeds([100 * each for each in share]),
        "n": cells.number(mean(share) * point.row.num_examples, 0),
    }
    return Line(made, source_of(point), (*flags(point), NO_EXAMPLES))


def group_line(found: Pass, rule: Leaving, group: Group) -> Line:
    made = described(found, rule.point) | {
        "where": cells.words(group.name),
        "n": cells.number(group.n, 0),
        "share": cells.over_seeds([100 * float(here_B.mean()) for here_B in group.here_SB]),
        "accuracy": percent(group.accuracy),
    }
    if not group.stayed:
        made |= {
            "last": percent(group.last_accuracy),
            "harm": percent(group.harm),
            "help": percent(group.help),
            "to_last": cells.points(group.gain),
            "p": cells.p_value(group.gain),
        }
    return Line(made, source_of(rule.point), flags(rule.point))


def described(found: Pass, point: Point) -> dict[str, Cell]:
    keys = ("split", "dtype", "device", "commit")
    return {
        "model": cells.words(found.name),
        "rule": cells.words(point.setting),
        "seeds": cells.several(point, "seed"),
        **{key: cells.several(point, key) for key in keys},
    }


def flags(point: Point) -> tuple[str, ...]:
    return (ONE_SEED,) if len(point.members) == 1 else ()


def percent(found: Interval) -> Cell:
    each = found.times(100)
    text = f"{each.value:.1f} ({each.low:.1f} to {each.high:.1f})"
    return Cell(each.value, text, each.low, each.high)


def depth_lines_of(found: Pass) -> list[Line]:
    rule = leaving(found.usual)
    if rule is None:
        return []
    return [depth_line(found, rule, each) for each in [*by_length(rule), *by_difficulty(rule)]]


def depth_line(found: Pass, rule: Leaving, each: Depth) -> Line:
    depth = each.depth
    text = f"{depth.value:.2f} ({depth.low:.2f} to {depth.high:.2f})"
    made = described(found, rule.point) | {
        "bin": cells.words(each.name),
        "n": cells.words(each.n),
        "depth": Cell(depth.value, text, depth.low, depth.high),
        "accuracy": percent(each.accuracy),
    }
    return Line(made, source_of(rule.point), flags(rule.point))


def answers(task: str, found: Pass) -> list[str]:
    """Who leaves, whether it costs anything, and how depth goes with the text."""
    point, last = found.usual, found.row.num_layers
    head = f"{task}, {found.name} at {point.setting}:"
    layers = sorted({int(k) for m in point.members for k in m.row.exit_shares} - {last})
    left = [f"{100 * mean(shares(point, k)):.0f} % at layer {k}" for k in layers]
    told = f"{head} of {last} layers, {', '.join(left)} leave"
    rule = leaving(point)
    if rule is None:
        return [f"{told}."]
    early = rule.any_early
    right, harm = percent(early.accuracy).text, percent(early.harm).text
    lines = [
        f"{told}; of these {right} % are right, and {harm} % wrong where the last layer is right. "
        f"{cost(early)}"
    ]
    kinds = [made for made in (by_length(rule), by_difficulty(rule)) if len(made) > 1]
    return [*lines, *(f"{head} {ends(made[0])}, {ends(made[-1])}." for made in kinds)]


def cost(early: Group) -> str:
    gain = early.gain
    if gain.interval is not None and gain.interval.low == gain.interval.high == 0:
        return "Leaving early costs no point of accuracy."
    return f"Leaving early changes accuracy by {cells.points_text(gain)} points."


def ends(depth: Depth) -> str:
    return f"depth {depth.depth.value:.2f} at {depth.name}"


def notes(tasks: dict[str, list[Pass]]) -> list[str]:
    """What a reader must know, and what could not be said."""
    found = [
        "Who leaves does not depend on the batch: each example decides for itself.",
    ]
    none = [task for task, passed in tasks.items() if not passed]
    if none:
        found.append(f"No example of these leaves early: {', '.join(none)}.")
    passed = [p for each in tasks.values() for p in each]
    absent = [f"{p.row.task} {p.name}" for p in passed if not p.runs]
    if absent:
        found.append(f"Without examples, so shares alone: {', '.join(absent)} (measure again).")
    if not any(r.difficulty is not None for p in passed for r in p.recorded):
        found.append("No data here says how difficult an example is; toy data do (data=toy).")
    return found


if __name__ == "__main__":
    from eat_lightning.report.__main__ import show_claim

    show_claim(__file__)
