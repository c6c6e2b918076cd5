"""Tables of `targets.md`: what was wanted of heads from one pass, and each dial's points.

    python -m experiments.budgets.targets

From kept rows. A target is compared with the row that was asked for its budget.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from pandas import DataFrame

from eat_lightning.report.intervals import Interval, paired_difference
from eat_lightning.report.study import Measured, Study
from eat_lightning.runs import jsonl
from experiments.bench.tables import markdown

from ..one_pass.losses import loss, right
from ..plane.rows import TimedRow, times_path
from . import summary

NAMES = {
    "sst2_mpnet": "SST-2, 12 layers",
    "qqp_mpnet": "QQP, 12 layers",
    "mnli_mpnet": "MNLI, 12 layers",
    "qqp_minilm": "QQP, 6 layers",
    "mnli_minilm": "MNLI, 6 layers",
}
TIMES = {"latency_ms": "batch 1", "batch_ms": "batch 32"}
AHEAD = 2.0  # points that MNLI's twelve layers were to be above a student at equal time


@dataclass(frozen=True)
class Target:
    """At a budget a model loses at most so many points, or changes at most so many percent of its
    answers, against its own full depth.

    Args:
        model: how the names of its runs begin.
        asked: share of full FLOPs.
        most: points or percent.
        changed: true for percent of changed answers.
        nearest: budget that was asked instead, where no row asked for `asked`.
    """

    model: str
    asked: float
    most: float
    changed: bool = False
    nearest: float | None = None

    @property
    def words(self) -> str:
        if self.changed:
            return f"at most {self.most:g} % changed at {self.asked:g}"
        return f"at most {self.most:.1f} points lost at {self.asked:g}"


TARGETS = (
    Target("sst2_mpnet", 0.38, 0.3),
    Target("qqp_mpnet", 0.33, 0.3),
    Target("mnli_mpnet", 0.52, 1.0),
    Target("qqp_minilm", 0.35, 0.3),
    Target("mnli_minilm", 0.5, 1.5),
    Target("sst2_mpnet", 0.34, 1.0, changed=True, nearest=0.35),
    Target("qqp_mpnet", 0.42, 1.0, changed=True),
    Target("qqp_minilm", 0.42, 1.0, changed=True),
    Target("mnli_mpnet", 0.58, 1.0, changed=True),
    Target("mnli_minilm", 0.58, 1.0, changed=True),
)


def tables(study: Study) -> list[str]:
    """Markdown of the tables of `targets.md`: targets, students, steps, and each run's dial."""
    whole = [of_targets(study), of_students(study), of_steps(study)]
    found = [markdown(DataFrame(rows).fillna("")) for rows in whole]
    return [*found, *(dial_table(study, run) for run in summary.RUNS)]


def dial_table(study: Study, run: str) -> str:
    """Markdown of a run's dial, its model above."""
    seed = points(study, run)[0].row.seed
    return f"**{name_of(run)}, seed {seed}**\n\n{markdown(DataFrame(dial_lines(study, run)))}"


def of_targets(study: Study) -> list[dict[str, str]]:
    return [
        target_line(target, nearest(study, run, target))
        for target in TARGETS
        for run in summary.RUNS
        if run.startswith(target.model)
    ]


def nearest(study: Study, run: str, target: Target) -> Measured:
    """Find the row that asked for the target's budget, else for the one nearest to it."""
    asked = {m.row.budget for m in study.measured if m.row.run == run}
    return at_budget(study, run, target.asked if target.asked in asked else target.nearest)


def at_budget(study: Study, run: str, asked: float | None) -> Measured:
    return next(m for m in study.measured if m.row.run == run and m.row.budget == asked)


def target_line(target: Target, found: Measured) -> dict[str, str]:
    """Say what a seed reached. Met is what the point of dev says, without its interval."""
    compared, told = loss(found), found.known
    full_B = found.record.guesses[found.row.num_layers].argmax(1)
    lost = float((full_B == found.record.labels).mean()) - float(right(found).mean())
    changed = float((told.logits_BC.argmax(1) != full_B).mean())
    met = 100 * (changed if target.changed else lost) <= target.most
    return {
        "model": f"{NAMES[target.model]}, seed {found.row.seed}",
        "wanted": target.words,
        "asked": f"{found.row.budget:g}",
        "spent": compared["spent"],
        "reached": compared["changed"] if target.changed else compared["minus full depth"],
        "": "met" if met else "missed",
    }


def of_students(study: Study) -> list[dict[str, str]]:
    """MNLI beside students of half the layers: twelve layers by the clock, six by FLOPs."""
    rows = jsonl.read(times_path(summary.HERE, "mnli"), TimedRow)
    timed = [equal_time_line(rows, field) for field in TIMES]
    beside = []
    for run in summary.RUNS:
        if not run.startswith("mnli_minilm"):
            continue
        exits = at_budget(study, run, 0.5)
        if student := summary.student_of(study, exits.row):
            more = paired_difference(right(exits), right(student)).times(100)
            beside.append(student_line(f"MNLI, 6 layers, seed {exits.row.seed}", more, 0.0))
    return [*timed, *beside]


def equal_time_line(rows: list[TimedRow], field: str) -> dict[str, str]:
    """The most accurate exits that take no longer than the student of six layers."""
    student = next(row for row in rows if row.system == summary.STUDENT)
    no_slower = [
        r for r in rows if r.kind == "exits" and getattr(r, field) <= getattr(student, field)
    ]
    best = max(no_slower, key=lambda row: row.accuracy or 0.0)
    above = Interval(*best.above[summary.STUDENT])
    return student_line(f"MNLI, 12 layers, seed 1, {TIMES[field]}", above, AHEAD)


def student_line(model: str, above: Interval, least: float) -> dict[str, str]:
    student = "a student of half the layers at equal"
    wanted = f"{least:g} points above {student} time" if least else f"above {student} FLOPs"
    return {
        "model": model,
        "wanted": wanted,
        "reached": above.text(sign="+"),
        "": "met" if above.low > least else "not shown" if above.value > least else "missed",
    }


def name_of(run: str) -> str:
    return next(name for model, name in NAMES.items() if run.startswith(model))


def points(study: Study, run: str) -> list[Measured]:
    """Rows of a dial that were asked for a budget, ascending."""
    found = [m for m in study.measured if m.row.run == run and m.row.budget is not None]
    return sorted(found, key=lambda m: m.row.budget or 0.0)


def of_steps(study: Study) -> list[dict[str, str]]:
    return [steps_line(points(study, run), run) for run in summary.RUNS]


def steps_line(dial: list[Measured], run: str) -> dict[str, str]:
    """Count steps to a larger budget at which accuracy falls, and say the deepest of them."""
    steps = [paired_difference(right(b), right(a)).times(100) for a, b in pairwise(dial)]
    down = [step for step in steps if step.value < 0]
    spent = [m.row.flops_ratio or 0.0 for m in dial]
    missed = [m.row.flops_ratio - m.row.budget for m in dial]  # type: ignore[operator]
    return {
        "model": f"{name_of(run)}, seed {dial[0].row.seed}",
        "budgets": str(len(dial)),
        "spent less than the one before": str(int((np.diff(spent) < 0).sum())),
        "less accurate": str(len(down)),
        "deepest step": min(down, key=lambda s: s.value).text(sign="+") if down else "none",
        "beyond noise": str(sum(step.high < 0 for step in down)),
        "spent minus asked": f"{min(missed):+.3f} to {max(missed):+.3f}",
    }


def dial_lines(study: Study, run: str) -> Iterator[dict[str, str]]:
    """Every point of a run's dial, budgets first, then shares of unchanged answers."""
    agree = [m for m in study.measured if m.row.run == run and m.row.agree is not None]
    for found in [*points(study, run), *sorted(agree, key=lambda m: m.row.agree or 0.0)]:
        row, compared = found.row, loss(found)
        compared.pop("full depth")
        asked = f"agree {row.agree:g}" if row.budget is None else f"{row.budget:g}"
        yield {"asked": asked, **compared}


if __name__ == "__main__":
    print("\n\n".join(tables(summary.kept_rows())))
