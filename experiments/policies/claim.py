"""Policies beside their exit rule, from the rows of `measure policy=...`.

    python -m experiments policies study=outputs/...

Needs rows with and without policies: python -m eat_lightning.measure run=... policy=[...].
"""

from __future__ import annotations

from pathlib import Path

from eat_lightning.model.specification import Specification
from eat_lightning.report.claim import Claim
from eat_lightning.report.columns import number, table, word
from eat_lightning.report.study import Measured, Study
from eat_lightning.report.table import Cell, Column
from eat_lightning.runs.row import label


def score_of(m: Measured) -> float:
    return 100 * m.row.score


def policies_of(m: Measured) -> str:
    return " + ".join(map(policy_text, m.row.policy))


COLUMNS = [
    word("task", "task", "row.task"),
    word("rule", "exit rule", lambda m: label(m.row.exit)),
    word("policy", "policy", policies_of),
    number("score", "accuracy", score_of, 2, "%, on the split that the rows name"),
    number("depth", "depth", "row.depth", 2, "layers, mean"),
    number("retention", "retention", "row.retention", 3, "tokens entering the last layer run"),
    number("flops", "FLOPs", "row.flops_ratio", 3, "over the same body dense, at full depth"),
]


def claim(study: Study) -> Claim:
    """One table of all tasks, a line for each rule and each policy over it."""
    found = [m for m in study.measured if not m.row.baseline and m.row.exit_reasons]
    found.sort(key=lambda m: (study.tasks.index(m.row.task), bool(m.row.policy)))
    reasons = dict.fromkeys(reason for m in found for reason in m.row.exit_reasons)
    sizes = {m.row.task: m.row.num_examples for m in found}
    counts = ", ".join(f"{task} {n} examples" for task, n in sizes.items())
    where = {f"{m.row.split}, {m.row.dtype}": None for m in found}
    caption = f"{counts} of {next(iter(where), '')}. FLOPs are without a second run's."
    columns = [*COLUMNS, *map(share_of, reasons)]
    lines = table("policies", "Policies", caption, columns, found, None)
    whole = Claim("policies", "Policies over exit rules")
    whole.add([f"{len(found)} settings: {counts}."], [lines])
    return whole.or_lacking(
        "no row here says why examples were answered: python -m eat_lightning.measure run="
    )


def share_of(reason: str) -> Column:
    def cell(m: Measured) -> Cell:
        share = 100 * m.row.exit_reasons.get(reason, 0.0)
        return Cell(share, f"{share:.1f}" if share else "")

    group = "answered there because, %"
    return Column(reason, reason.replace("_", " "), group=group, cell=cell)


def policy_text(policy: Specification) -> str:
    """ "veto margin 0.9 by model=eat seed=1": its kind, and the settings that change something."""
    words = [policy.kind]
    for key, value in policy.arguments.items():
        if key == "run":
            words.append(f"by {Path(str(value)).name.replace(',', ' ')}")
        elif isinstance(value, dict):
            words += [f"{name} {one}" for name, one in value.items()]
        elif value not in (None, [], True):
            words.append(f"{key} {value}")
    return " ".join(words)
