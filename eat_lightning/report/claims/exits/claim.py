"""Exit depths, the accuracy of exits, and how depth relates to the text (EAT, figure 6).

    eat report study=outputs/frontier claims=[exits]

Shares need only rows, the rest needs their examples: python -m eat_lightning.measure
run=outputs/frontier. Difficulty is known for toy data: python -m eat_lightning.train data=toy ...
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from eat_lightning.report import cells
from eat_lightning.report import columns as col
from eat_lightning.report.claims.exits.figure import figures_of
from eat_lightning.report.claims.exits.rule import Rule, place
from eat_lightning.report.difference import Difference
from eat_lightning.report.passes import USUAL, Pass, how_chosen, passes
from eat_lightning.report.section import Section
from eat_lightning.report.study import Study
from eat_lightning.report.table import Table

SAME = "95 % Wilson interval for the number of examples of one seed"
FEW = 10  # percent of the examples: what fewer cost says little about leaving early

COLUMNS = [
    col.word("model", "model"),
    col.word("rule", "rule"),
    col.word("where", "left at"),
    col.seeds(),
    col.number("n", "n", digits=0, help="examples that left there, mean over seeds"),
    col.spread("share", "share", help="of all examples, percent, mean ± sd over seeds"),
    col.percent("accuracy", "right", help=f"of those that left there, percent; {SAME}"),
    col.percent(
        "last", "last layer", help="accuracy of the last layer on the same examples, percent"
    ),
    col.percent("harm", "harm", help=f"wrong where the last layer is right, percent; {SAME}"),
    col.percent("help", "help", help=f"right where the last layer is wrong, percent; {SAME}"),
    col.points("to_last", "Δ last layer", help=f"points of the whole split; {col.PAIRED}"),
    col.p_value("p", "to_last", col.MCNEMAR),
    *map(col.values, ("split", "dtype", "device", "commit")),
]
DEPTH_COLUMNS = [
    col.word("model", "model"),
    col.word("rule", "rule"),
    col.word("bin", "examples of"),
    col.seeds(),
    col.count("n", "n", help="examples"),
    col.interval("depth", "depth", help=f"layers run, mean; {col.PAIRED}"),
    col.percent("accuracy", "right", help=f"percent; {SAME}"),
]
PLACE = 40  # on the page


def claim(study: Study) -> Section:
    """Return a table and figures for each task with early exits."""
    tasks = {task: [p for p in passes(study, task) if p.early] for task in study.tasks}
    whole = Section("exits", "Early exits: shares and accuracy by layer")
    for task, early in tasks.items():
        if early:
            rules = [Rule(each, point) for each in early for point in each.early]
            lines = [line for each in rules if each.usual for line in answers(task, each)]
            whole.add(lines, tables_of(task, rules), figures_of(task, rules))
    whole.add(how_chosen(p for early in tasks.values() for p in early), notes=notes(tasks))
    return whole.or_lacking(need(study))


def need(study: Study) -> str:
    """Explain what is missing; a study with unused exits differs from one without exits."""
    measure = "python -m eat_lightning.measure run=outputs/<study>"
    if any(len(m.row.temperature) > 1 for m in study.measured):
        return f"there are exits, but no example left early: {measure} budgets=[0.5]"
    exits = "of runs with exits (head.layers=[3,4] exit=confidence)"
    return f"no row here has an example that left early: {measure} {exits}"


def tables_of(task: str, rules: Sequence[Rule]) -> list[Table]:
    who = col.table(
        f"exits-{task}",
        f"Exits by layer on {task}, and whether the skipped layers would have helped",
        (
            "The last layer's prediction on the same examples is what they would have got "
            "without exits."
        ),
        COLUMNS,
        [line for rule in rules for line in rule.places],
    )
    depth = col.table(
        f"depth-{task}",
        f"Depth by text on {task}",
        f"{USUAL} Bins of length have about equal numbers of examples.",
        DEPTH_COLUMNS,
        [line for r in rules if r.usual for line in (*r.lengths, *r.difficulties)],
    )
    return [who, depth]


def answers(task: str, rule: Rule) -> Iterator[str]:
    """Yield the shares that exit, their cost in accuracy, and how depth relates to the text."""
    last, shares = rule.found.row.num_layers, rule.shares.mean()
    head = f"{task}, {rule.found.name} at {rule.point.title}:"
    left = [f"{share:.0f} % at layer {k}" for k, share in shares.items() if k != last]
    line = f"{head} of {last} layers, {', '.join(left)} of the examples leave"
    if rule.examples is None:
        yield f"{line}."
        return
    early = place(rule, "", rule.examples["depth"] < last)
    right, harm = (cells.percent(early[key]).text for key in ("accuracy", "harm"))
    line += (
        f"; of these {right} % are answered correctly, and {harm} % wrongly where the last "
        "layer is correct. "
    )
    yield line + cost(early["to_last"], shares[shares.index != last].sum())
    for kind in (rule.lengths, rule.difficulties):
        if len(kind) > 1:
            low, high = (f"depth {d['depth'].value:.2f} at {d['bin']}" for d in (kind[0], kind[-1]))
            yield f"{head} {low}, {high}."


def cost(gain: Difference, left: float) -> str:
    """Describe the cost of early exits over the whole split.

    Args:
        left: percent of the examples that exited early.
    """
    if gain.interval is not None and gain.interval.low == gain.interval.high == 0:
        if left < FEW:
            return f"Fewer than {FEW} % leave early: too few to measure their cost."
        return "Leaving early costs no point of accuracy."
    return f"Leaving early changes accuracy by {cells.points_text(gain)} points."


def notes(tasks: dict[str, list[Pass]]) -> Iterator[str]:
    """Yield notes for the reader, including missing data."""
    yield "Exits do not depend on the batch, because each example is decided independently."
    if none := [task for task, passed in tasks.items() if not passed]:
        yield f"No early exits at all: {', '.join(none)}."
    passed = [p for each in tasks.values() for p in each]
    if absent := [f"{p.row.task} {p.name}" for p in passed if not p.runs]:
        yield (
            f"Only shares, because their examples were not stored: {', '.join(absent)} (measure "
            "again)."
        )
    if not any(r.difficulty is not None for p in passed for r in p.records):
        yield "Depth by difficulty needs data with known difficulty, such as toy data (data=toy)."
