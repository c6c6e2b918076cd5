"""Paired difference between one method and others, at each budget that both were fitted for.

    eat report study=outputs/mine claims=[compare] against="eat, norm_topk"

Needs the same rows as `budgets`, and the name of a method as its table shows it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from eat_lightning.report import columns as col
from eat_lightning.report.budgeted import Method, check_against, methods_of
from eat_lightning.report.cells import points_text
from eat_lightning.report.difference import difference
from eat_lightning.report.section import Section
from eat_lightning.report.study import Mark, Study
from eat_lightning.report.table import Table

SPENT = (
    "counted, as a share of own static's; budgets are met on the calibration split, and dev "
    "may cost more or less"
)
PLACE = 20  # on the page


def claim(study: Study) -> Section:
    """Return a table for each task with the reference method and another one."""
    check_against(study)
    whole = Section("compare", f"Methods minus {study.against}")
    for task in study.tasks:
        if lines := lines_of(methods_of(study, task), study.against):
            whole.add(answers(task, study.against, lines), [table_of(task, study.against, lines)])
    return whole.or_lacking(f"no other method was fitted for a budget of {study.against}")


def lines_of(methods: Sequence[Method], against: str) -> list[dict[str, Any]]:
    """Return a line for each other method and each budget that both have."""
    fitted = [line for method in methods for line in method.lines]
    known = {line["setting"]: line["point"] for line in fitted if line["model"] == against}
    lines = [line for line in fitted if line["model"] != against and line["setting"] in known]
    pairs = [on_common_seeds(line["point"], known[line["setting"]]) for line in lines]
    return [
        line | {"point": mine, "other": other, "points": difference(mine, other)}
        for line, (mine, other) in zip(lines, pairs, strict=True)
    ]


def table_of(task: str, against: str, lines: Sequence[dict[str, Any]]) -> Table:
    caption = (
        f"Accuracy minus that of {against} on the same examples, averaged over seeds. Intervals "
        "reflect the choice of examples for these seeds. Bold: significantly better."
    )
    title = f"Methods minus {against} on {task}"
    return col.table(f"compare-{task}", title, caption, columns(against), lines)


def columns(against: str) -> list[Any]:
    flops = f"FLOPs of {against}"
    return [
        col.word("model", "method"),
        col.word("setting", "budget", help="share of full FLOPs that both were fitted for"),
        col.seeds(),
        col.seeds("its_seeds", f"seeds of {against}", "other"),
        col.accuracy(),
        col.field("flops_ratio", "FLOPs", 3, SPENT),
        col.number("its_flops", flops, lambda line: line["other"].mean("flops_ratio"), 3),
        col.points("points", "Δ", help=f"points of accuracy; {col.PAIRED}"),
        col.p_value("p", "points", col.MCNEMAR),
        *map(col.values, ("num_examples", "split", "weights", "commit")),
    ]


def answers(task: str, against: str, lines: Sequence[dict[str, Any]]) -> Iterator[str]:
    for line in lines:
        if line["points"]:
            name, found = line["model"], points_text(line["points"])
            yield f"{task}, {line['setting']}: {name} minus {against} is {found} points."


def on_common_seeds(one: Mark, other: Mark) -> tuple[Mark, Mark]:
    """Restrict both to the seeds that they share, because means over different seeds would compare
    trainings. Without common seeds both are returned unchanged.
    """
    common = {*one.seeds} & {*other.seeds}
    if not common:
        return one, other
    mine, theirs = ([m for m in p.members if m.row.seed in common] for p in (one, other))
    return replace(one, members=mine), replace(other, members=theirs)
