"""Policies beside their exit rule: a table from the rows of `measure policy=...`.

    python experiments/policies.py [run folders, or folders with rows.jsonl and rows-policy.jsonl]

Without a folder, the rows that were kept beside this script; experiments/policies.md says how they
were made, and what they bear.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eat_lightning.errors import ConfigError
from eat_lightning.measure.settings import label
from eat_lightning.model.reason import Reason
from eat_lightning.report import tables
from eat_lightning.report.claim import Cell, Column, Line, Source, Table
from eat_lightning.runs.row import Row, read

KEPT = Path(__file__).parent / "results" / "policies"
WHY = "answered there because, %"
REASONS = [reason.label for reason in Reason if reason != Reason.STAYS]
COLUMNS = [
    Column("task", "task", numeric=False),
    Column("rule", "exit rule", numeric=False),
    Column("policy", "policy", numeric=False),
    Column("score", "accuracy", "%, whole dev set"),
    Column("depth", "depth", "layers, mean"),
    Column("retention", "retention", "tokens entering the last executed layer, of all"),
    Column("flops", "FLOPs", "over the same body dense, unpruned, at full depth"),
    *(Column(name, name.replace("_", " "), group=WHY) for name in REASONS),
]


def main() -> None:
    given = [Path(path) for path in sys.argv[1:]] or [KEPT]
    try:
        draw(given)
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(1) from None


def draw(folders: Sequence[Path]) -> None:
    rows = [row for folder in folders for name in NAMES for row in read(folder / name)]
    rows = [row for row in rows if not row.baseline and row.exit_reasons]
    if not rows:
        told = ", ".join(map(str, folders))
        raise ConfigError(f"{told}: no rows of this version: python -m eat_lightning.measure run=")
    table = table_of(rows)
    if folders == [KEPT]:
        tables.write(table, KEPT)
    tables.show(table)


NAMES = ("rows.jsonl", "rows-policy.jsonl")


def table_of(rows: Sequence[Row]) -> Table:
    tasks = {row.task: row.num_examples for row in rows}
    said = ", ".join(f"{task} {count} examples" for task, count in tasks.items())
    caption = f"{said} of {rows[0].split}, {rows[0].dtype}. FLOPs are without a second run's."
    ordered = sorted(rows, key=lambda row: [*tasks].index(row.task))
    lines = [Line(cells(row), Source((row.run,), "", (row.commit,))) for row in ordered]
    return Table("policies", "Policies", caption, COLUMNS, lines)


def cells(row: Row) -> dict[str, Cell]:
    score = 100 * getattr(row, row.metric)
    shares = {name: 100 * row.exit_reasons.get(name, 0.0) for name in REASONS}
    return {
        "task": Cell(row.task, row.task),
        "rule": Cell(label(row.exit), label(row.exit)),
        "policy": Cell(asked := named(row.policy), asked),
        "score": Cell(score, f"{score:.2f}"),
        "depth": Cell(row.depth, f"{row.depth:.2f}"),
        "retention": Cell(row.retention, f"{row.retention:.3f}"),
        "flops": Cell(row.flops_ratio, f"{row.flops_ratio:.3f}"),
        **{name: Cell(share, f"{share:.1f}" if share else "") for name, share in shares.items()},
    }


def named(policies: Sequence[dict[str, Any]]) -> str:
    """ "veto margin 0.9", its settings that are not nothing."""
    return " + ".join(
        " ".join([str(given["kind"]), *(told(k, v) for k, v in given.items() if worth(k, v))])
        for given in policies
    )


def worth(key: str, value: Any) -> bool:
    return key != "kind" and value not in (None, [], True)


def told(key: str, value: Any) -> str:
    if key == "run":
        return f"by {Path(str(value)).name.replace(',', ' ')}"
    if isinstance(value, dict):
        return " ".join(f"{name} {one}" for name, one in value.items())
    return f"{key} {value}"


if __name__ == "__main__":
    main()
