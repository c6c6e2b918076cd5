"""Policies beside their exit rule, from the rows of `measure policy=...`.

    python -m experiments.policies.claim study=outputs/...

Needs rows with and without policies: python -m eat_lightning.measure run=... policy=[...].
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eat_lightning.errors import ConfigError
from eat_lightning.measure.settings import label
from eat_lightning.report import cells
from eat_lightning.report.claim import Cell, Claim, Column, Line, Table
from eat_lightning.report.compare import source_of
from eat_lightning.report.study import Point, Study
from eat_lightning.runs.row import Row

COLUMNS = [
    Column("task", "task", numeric=False),
    Column("rule", "exit rule", numeric=False),
    Column("policy", "policy", numeric=False),
    Column("score", "accuracy", "%, on the split that the rows name"),
    Column("depth", "depth", "layers, mean"),
    Column("retention", "retention", "tokens entering the last executed layer, of all"),
    Column("flops", "FLOPs", "over the same body dense, unpruned, at full depth"),
]


def claim(study: Study) -> Claim:
    """One table of all tasks, a line for each rule and each policy over it."""
    found = [m for m in study.measured if not m.row.baseline and m.row.exit_reasons]
    if not found:
        raise ConfigError(
            "no row here says why examples were answered: python -m eat_lightning.measure run="
        )
    rows = [m.row for m in found]
    reasons = list(dict.fromkeys(reason for row in rows for reason in row.exit_reasons))
    why = [
        Column(name, name.replace("_", " "), group="answered there because, %") for name in reasons
    ]
    counts = ", ".join(
        f"{t} {n} examples" for t, n in {r.task: r.num_examples for r in rows}.items()
    )
    caption = f"{counts} of {rows[0].split}, {rows[0].dtype}. FLOPs are without a second run's."
    ordered = sorted(found, key=lambda m: (study.tasks.index(m.row.task), bool(m.row.policy)))
    lines = [Line(of_row(m.row, reasons), source_of(Point([m]))) for m in ordered]
    table = Table("policies", "Policies", caption, [*COLUMNS, *why], lines)
    return Claim(
        "policies", "Policies over exit rules", [f"{len(lines)} settings: {counts}."], [table]
    )


def of_row(row: Row, reasons: Sequence[str]) -> dict[str, Cell]:
    shares = {name: 100 * row.exit_reasons.get(name, 0.0) for name in reasons}
    return {
        "task": cells.words(row.task),
        "rule": cells.words(label(row.exit)),
        "policy": cells.words(" + ".join(map(policy_text, row.policy))),
        "score": cells.number(100 * getattr(row, row.metric), 2),
        "depth": cells.number(row.depth, 2),
        "retention": cells.number(row.retention, 3),
        "flops": cells.number(row.flops_ratio, 3),
        **{name: Cell(share, f"{share:.1f}" if share else "") for name, share in shares.items()},
    }


def policy_text(policy: dict[str, Any]) -> str:
    """ "veto margin 0.9 by model=eat seed=1": its kind, and the settings that change something."""
    words = [str(policy["kind"])]
    for key, value in policy.items():
        if key == "run":
            words.append(f"by {Path(str(value)).name.replace(',', ' ')}")
        elif isinstance(value, dict):
            words += [f"{name} {one}" for name, one in value.items()]
        elif key != "kind" and value not in (None, [], True):
            words.append(f"{key} {value}")
    return " ".join(words)


if __name__ == "__main__":
    from eat_lightning.report.__main__ import show_claim

    show_claim(__file__)
