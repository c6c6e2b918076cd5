"""Exit rules that need no training, on the same heads, at the budgets that were asked.

python -m experiments.budgets.rules FOLDER...     # runs that `eat measure rules=[...]` measured
python -m experiments.budgets.rules               # the table, from kept rows
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pandas import DataFrame

from eat_lightning.errors import ConfigError, reported
from eat_lightning.model.specification import Specification
from eat_lightning.report.intervals import Interval, paired_difference
from eat_lightning.report.study import Measured, Study, grouped_by, open_study
from eat_lightning.runs import jsonl
from experiments.bench.tables import markdown

from ..one_pass.losses import right

ROWS = Path(__file__).parent / "rules" / "rows.jsonl"
NAMES = {
    "entropy": "entropy",
    "margin": "margin of the two best classes",
    "cap": "CAP (2506.17249)",
    "fpabee": "F-PABEE (2305.11916)",
}
USUAL = "confidence"


@dataclass(frozen=True)
class RuleRow:
    """A rule at one budget, beside the confidence of the same heads.

    Args:
        seed: of the run.
        rule: file name of the method.
        about: its arguments, but for layers and the fitted knob.
        asked: share of full FLOPs.
        spent: of them on dev.
        accuracy: percent.
        more: points above confidence asked for as much, with the paired 95 % interval's ends.
        num_examples: of dev.
        data: hash of their texts.
        machine: processor.
        commit: of the code that measured.
    """

    task: str
    run: str
    seed: int
    rule: str
    about: dict[str, Any]
    asked: float
    spent: float
    accuracy: float
    more: list[float]
    num_examples: int
    data: str
    machine: str
    commit: str


def rule_rows(study: Study) -> Iterator[RuleRow]:
    """Compare each rule with confidence, for every run and every budget that both were asked."""
    asked = [m for m in study.measured if m.row.budget is not None]
    for same in grouped_by(asked, lambda m: (m.row.run, m.row.budget)).values():
        by_rule = {m.row.exit.kind: m for m in same}
        if USUAL not in by_rule or len(by_rule) < len(same):
            raise ConfigError(
                f"{same[0].row.run}: each rule must be there once, {USUAL} among them"
            )
        for rule, found in by_rule.items():
            yield rule_row(rule, found, by_rule[USUAL])


def about(exit: Specification) -> dict[str, Any]:
    """Give the numbers among its arguments; lists are layers and points."""
    given = exit.arguments.items()
    return {key: value for key, value in given if type(value) in (int, float)}


def rule_row(rule: str, found: Measured, usual: Measured) -> RuleRow:
    row, more = found.row, paired_difference(right(found), right(usual)).times(100)
    return RuleRow(
        task=row.task,
        run=row.run,
        seed=row.seed,
        rule=rule,
        about=about(row.exit),
        asked=row.budget or 0.0,
        spent=round(row.flops_ratio, 4),
        accuracy=round(100 * row.score, 3),
        more=[round(x, 2) for x in (more.value, more.low, more.high)],
        num_examples=row.num_examples,
        data=row.data,
        machine=row.machine,
        commit=row.commit,
    )


def table(rows: list[RuleRow]) -> str:
    """Markdown: a line for each run and rule, a column for each budget."""
    lines = []
    by_line = grouped_by(rows, lambda row: (row.task, row.seed, row.rule, str(row.about)))
    for (task, seed, rule, _), found in by_line.items():
        settings = ", ".join(f"{key} {value:g}" for key, value in found[0].about.items())
        name = NAMES.get(rule, rule) + (f", {settings}" if settings else "")
        cells = {f"asked {row.asked:g}": cell(row) for row in found}
        lines.append({"run": f"{task.upper()}, seed {seed}", "rule": name, **cells})
    return markdown(DataFrame(lines))


def cell(row: RuleRow) -> str:
    more = f"{row.accuracy:.2f}" if row.rule == USUAL else Interval(*row.more).text(sign="+")
    return f"{more} at {row.spent:.3f}"


def main(folders: list[str]) -> None:
    rows: list[Any] = jsonl.read(ROWS, RuleRow)
    if folders:
        made = [*rule_rows(open_study(folders))]
        rows = [row for row in rows if row.run not in {each.run for each in made}] + made
        ROWS.parent.mkdir(exist_ok=True)
        jsonl.write(ROWS, rows)
    print(table(rows))


if __name__ == "__main__":
    with reported():
        main(sys.argv[1:])
