"""Exits under attack: tables and a figure from the rows of `eat_lightning.attack`.

    python -m experiments.attack.draw [folder with rows.jsonl]

Without a folder, the rows that were kept beside this script; page.md says how they
were made.
"""

from __future__ import annotations

import sys
from pathlib import Path

from eat_lightning.attack.rows import AttackRow
from eat_lightning.errors import ConfigError
from eat_lightning.report import figures, tables
from eat_lightning.runs import jsonl
from experiments.attack.figure import figure_of, table_of

KEPT = Path(__file__).parent / "results"


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else KEPT
    try:
        draw(folder)
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(1) from None


def draw(folder: Path) -> None:
    rows = jsonl.read(folder / "rows.jsonl", AttackRow)
    if not rows:
        raise ConfigError(f"{folder} has no rows.jsonl: python -m eat_lightning.attack run=...")
    for goal in dict.fromkeys(row.goal for row in rows):
        table = table_of(rows, goal)
        tables.write(table, folder)
        tables.show(table)
    figures.save(figure_of(rows), folder)
    print(f"written: {folder}")


if __name__ == "__main__":
    main()
