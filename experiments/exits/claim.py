"""Where examples leave, how right they are, and how depth goes with the text (EAT, figure 6).

    python -m experiments.exits.claim study=outputs/frontier

Shares need rows alone, the rest their examples: python -m eat_lightning.measure
run=outputs/frontier. Difficulty is known of toy data: python -m eat_lightning.train data=toy ...
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean

from eat_lightning.errors import ConfigError
from eat_lightning.report import cells
from eat_lightning.report.claim import Cell, Claim, Figure, Table
from eat_lightning.report.columns import Made, conditions, number, percent_cell, table, word
from eat_lightning.report.passes import Pass, passes
from eat_lightning.report.setting_table import MCNEMAR
from eat_lightning.report.study import Point, Study

from .figure import depth_figure, left_figure, shares, shares_figure
from .leaving import Depth, Group, by_difficulty, by_length, leaving

SAME = "95 % Wilson interval, over seeds as of one seed's number"
NO_EXAMPLES = "examples not at hand: the share alone"


@dataclass
class Left:
    """Who left at one place under a rule; `group` where their examples are at hand."""

    found: Pass
    point: Point
    where: str
    n: float
    shares: list[float]
    group: Group | None = None

    @property
    def early(self) -> Group | None:
        return None if self.group is None or self.group.stayed else self.group


@dataclass
class Bin:
    """Examples of like length or difficulty under a rule."""

    found: Pass
    point: Point
    depth: Depth


COLUMNS: list[Made[Left]] = [
    word("model", "model", lambda e: e.found.name),
    word("rule", "rule", lambda e: e.point.setting),
    word("where", "left at", lambda e: e.where),
    Made("seeds", "seeds", lambda e: cells.several(e.point, "seed"), "", False),
    number("n", "n", lambda e: e.n, 0, "examples that left there, mean over seeds"),
    Made(
        *("share", "share", lambda e: cells.over_seeds([100 * each for each in e.shares])),
        "of all examples, percent, mean ± sd over seeds",
    ),
    Made(
        *("accuracy", "right", lambda e: percent_cell(e.group and e.group.accuracy)),
        f"of those that left there, percent; {SAME}",
    ),
    Made(
        *("last", "last layer", lambda e: percent_cell(e.early and e.early.last_accuracy)),
        "right of the last layer on the same examples, percent",
    ),
    Made(
        *("harm", "harm", lambda e: percent_cell(e.early and e.early.harm)),
        f"wrong where the last layer is right, percent of them; {SAME}",
    ),
    Made(
        *("help", "help", lambda e: percent_cell(e.early and e.early.help)),
        f"right where the last layer is wrong, percent of them; {SAME}",
    ),
    Made(
        *("to_last", "Δ last layer", lambda e: cells.points(e.early and e.early.gain)),
        "points of the whole split's accuracy against the last layer; 95 % paired bootstrap over "
        "examples, seeds averaged",
    ),
    Made("p", "p", lambda e: cells.p_value(e.early and e.early.gain), MCNEMAR),
    *conditions(lambda e: e.point, "split", "dtype", "device", "commit"),
]
DEPTH_COLUMNS: list[Made[Bin]] = [
    word("model", "model", lambda e: e.found.name),
    word("rule", "rule", lambda e: e.point.setting),
    word("bin", "examples of", lambda e: e.depth.name),
    Made("seeds", "seeds", lambda e: cells.several(e.point, "seed"), "", False),
    Made("n", "n", lambda e: cells.words(e.depth.n), "examples"),
    Made(
        *("depth", "depth", lambda e: depth_cell(e.depth)),
        "layers run, mean; 95 % bootstrap over examples, seeds averaged",
    ),
    Made("accuracy", "right", lambda e: percent_cell(e.depth.accuracy), f"percent; {SAME}"),
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
    who = table(
        f"exits-{task}",
        f"Who leaves where on {task}, and whether the layers skipped would have helped",
        "The last layer's guess on the same examples is what they would have got by staying.",
        COLUMNS,
        [left for each in found for point in each.early for left in left_of(each, point)],
        lambda e: e.point,
        lambda e: () if e.group else (NO_EXAMPLES,),
    )
    depth = table(
        f"depth-{task}",
        f"Depth by the text, on {task}",
        "Of each model the rule nearest to tau 0.9; bins of length hold about equal numbers.",
        DEPTH_COLUMNS,
        [each for one in found for each in bins_of(one)],
        lambda e: e.point,
    )
    return [who, depth] if depth.lines else [who]


def left_of(found: Pass, point: Point) -> list[Left]:
    """Of each place, and of all early ones together; from the rows alone without examples."""
    rule = leaving(point)
    if rule is None:
        counts = {k: shares(point, k) for k in layers_left(point)}
        n = point.row.num_examples
        return [Left(found, point, f"layer {k}", mean(s) * n, s) for k, s in counts.items()]
    groups = [group for group in rule.groups if not group.stayed]
    groups += [rule.any_early] if len(groups) > 1 else []
    groups += [group for group in rule.groups if group.stayed]
    return [
        Left(found, rule.point, g.name, g.n, [float(h.mean()) for h in g.here_SB], g)
        for g in groups
    ]


def layers_left(point: Point) -> list[int]:
    return sorted({int(k) for m in point.members for k in m.row.exit_shares})


def bins_of(found: Pass) -> list[Bin]:
    rule = leaving(found.usual)
    if rule is None:
        return []
    return [Bin(found, rule.point, each) for each in [*by_length(rule), *by_difficulty(rule)]]


def depth_cell(found: Depth) -> Cell:
    depth = found.depth
    text = f"{depth.value:.2f} ({depth.low:.2f} to {depth.high:.2f})"
    return Cell(depth.value, text, depth.low, depth.high)


def answers(task: str, found: Pass) -> list[str]:
    """Who leaves, whether it costs anything, and how depth goes with the text."""
    point, last = found.usual, found.row.num_layers
    head = f"{task}, {found.name} at {point.setting}:"
    early = [k for k in layers_left(point) if k != last]
    left = [f"{100 * mean(shares(point, k)):.0f} % at layer {k}" for k in early]
    line = f"{head} of {last} layers, {', '.join(left)} leave"
    rule = leaving(point)
    if rule is None:
        return [f"{line}."]
    group = rule.any_early
    right, harm = percent_cell(group.accuracy).text, percent_cell(group.harm).text
    line += f"; of these {right} % are right, and {harm} % wrong where the last layer is right. "
    kinds = [made for made in (by_length(rule), by_difficulty(rule)) if len(made) > 1]
    ends = [[f"depth {d.depth.value:.2f} at {d.name}" for d in (m[0], m[-1])] for m in kinds]
    return [line + cost(group), *(f"{head} {low}, {high}." for low, high in ends)]


def cost(early: Group) -> str:
    gain = early.gain
    if gain.interval is not None and gain.interval.low == gain.interval.high == 0:
        return "Leaving early costs no point of accuracy."
    return f"Leaving early changes accuracy by {cells.points_text(gain)} points."


def notes(tasks: dict[str, list[Pass]]) -> list[str]:
    """What a reader must know, and what could not be said."""
    found = ["Who leaves does not depend on the batch: each example decides for itself."]
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
