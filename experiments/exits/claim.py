"""Where examples leave, how right they are, and how depth goes with the text (EAT, figure 6).

    python -m experiments exits study=outputs/frontier

Shares need rows alone, the rest their examples: python -m eat_lightning.measure
run=outputs/frontier. Difficulty is known of toy data: python -m eat_lightning.train data=toy ...
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import mean

from eat_lightning.report import cells
from eat_lightning.report.claim import Claim, Table
from eat_lightning.report.columns import (
    count,
    interval,
    number,
    p_value,
    percent,
    points,
    spread,
    table,
    values,
    word,
)
from eat_lightning.report.passes import Pass, passes
from eat_lightning.report.setting_table import MCNEMAR, PAIRED
from eat_lightning.report.study import Point, Study

from .figure import figures_of, shares
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


RULE = [word("model", "model", "found.name"), word("rule", "rule", "point.setting")]
COLUMNS = [
    *RULE,
    word("where", "left at", "where"),
    values("seed", "seeds", key="seeds"),
    number("n", "n", "n", 0, "examples that left there, mean over seeds"),
    spread("share", "share", "shares", "of all examples, percent, mean ± sd over seeds"),
    percent("accuracy", "right", "group.accuracy", f"of those that left there, percent; {SAME}"),
    percent("last", "last layer", "early.last_accuracy", "right of it on the same, percent"),
    percent("harm", "harm", "early.harm", f"wrong where the last layer is right, percent; {SAME}"),
    percent("help", "help", "early.help", f"right where the last layer is wrong, percent; {SAME}"),
    points("to_last", "Δ last layer", "early.gain", f"points of the whole split; {PAIRED}"),
    p_value("p", "early.gain", MCNEMAR),
    *map(values, ("split", "dtype", "device", "commit")),
]
DEPTH_COLUMNS = [
    *RULE,
    word("bin", "examples of", "depth.name"),
    values("seed", "seeds", key="seeds"),
    count("n", "n", "depth.n", "examples"),
    interval("depth", "depth", "depth.depth", f"layers run, mean; {PAIRED}"),
    percent("accuracy", "right", "depth.accuracy", f"percent; {SAME}"),
]


def claim(study: Study) -> Claim:
    """A table and figures for each task in which some example leaves early."""
    tasks = {task: [p for p in passes(study, task) if p.early] for task in study.tasks}
    found = Claim("exits", "Early exits: who leaves where")
    for task, early in tasks.items():
        if early:
            lines = [line for p in early for line in answers(task, p)]
            found.add(lines, tables_of(task, early), figures_of(task, early))
    found.add(notes=notes(tasks))
    return found.or_lacking(
        "no row here has an example that left early: python -m eat_lightning.measure "
        "run=outputs/<study> of runs with exits (head.layers=[3,4] exit=confidence)"
    )


def tables_of(task: str, found: Sequence[Pass]) -> list[Table]:
    who = table(
        f"exits-{task}",
        f"Who leaves where on {task}, and whether the layers skipped would have helped",
        "The last layer's guess on the same examples is what they would have got by staying.",
        COLUMNS,
        [left for each in found for point in each.early for left in left_of(each, point)],
        flags=lambda e: () if e.group else (NO_EXAMPLES,),
    )
    depth = table(
        f"depth-{task}",
        f"Depth by the text, on {task}",
        "Of each model the rule nearest to tau 0.9; bins of length hold about equal numbers.",
        DEPTH_COLUMNS,
        [each for one in found for each in bins_of(one)],
    )
    return [who, depth]


def left_of(found: Pass, point: Point) -> list[Left]:
    """Each place, and all early ones together; from the rows alone without examples."""
    rule = leaving(point)
    if rule is None:
        counts = {k: shares(point, k) for k in layers_left(point)}
        n = point.row.num_examples / 100
        return [Left(found, point, f"layer {k}", mean(s) * n, s) for k, s in counts.items()]
    groups = [group for group in rule.groups if not group.stayed]
    groups += [rule.any_early] if len(groups) > 1 else []
    groups += [group for group in rule.groups if group.stayed]
    return [
        Left(found, rule.point, g.name, g.n, [100 * float(h.mean()) for h in g.here_SB], g)
        for g in groups
    ]


def layers_left(point: Point) -> list[int]:
    return sorted({int(k) for m in point.members for k in m.row.exit_shares})


def bins_of(found: Pass) -> list[Bin]:
    rule = leaving(found.usual)
    if rule is None:
        return []
    return [Bin(found, rule.point, each) for each in [*by_length(rule), *by_difficulty(rule)]]


def answers(task: str, found: Pass) -> Iterator[str]:
    """Who leaves, whether it costs anything, and how depth goes with the text."""
    point, last = found.usual, found.row.num_layers
    head = f"{task}, {found.name} at {point.setting}:"
    early = [k for k in layers_left(point) if k != last]
    left = [f"{mean(shares(point, k)):.0f} % at layer {k}" for k in early]
    line = f"{head} of {last} layers, {', '.join(left)} leave"
    rule = leaving(point)
    if rule is None:
        yield f"{line}."
        return
    group = rule.any_early
    right, harm = cells.percent(group.accuracy).text, cells.percent(group.harm).text
    line += f"; of these {right} % are right, and {harm} % wrong where the last layer is right. "
    yield line + cost(group)
    for kind in (by_length(rule), by_difficulty(rule)):
        if len(kind) > 1:
            low, high = (f"depth {d.depth.value:.2f} at {d.name}" for d in (kind[0], kind[-1]))
            yield f"{head} {low}, {high}."


def cost(early: Group) -> str:
    gain = early.gain
    if gain.interval is not None and gain.interval.low == gain.interval.high == 0:
        return "Leaving early costs no point of accuracy."
    return f"Leaving early changes accuracy by {cells.points_text(gain)} points."


def notes(tasks: dict[str, list[Pass]]) -> Iterator[str]:
    """What a reader must know, and what could not be said."""
    yield "Who leaves does not depend on the batch: each example decides for itself."
    if none := [task for task, passed in tasks.items() if not passed]:
        yield f"No example of these leaves early: {', '.join(none)}."
    passed = [p for each in tasks.values() for p in each]
    if absent := [f"{p.row.task} {p.name}" for p in passed if not p.runs]:
        yield f"Without examples, so shares alone: {', '.join(absent)} (measure again)."
    if not any(r.difficulty is not None for p in passed for r in p.recorded):
        yield "No data here says how difficult an example is; toy data do (data=toy)."
