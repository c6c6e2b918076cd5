"""Tables of what `eat measure run=... queries=...` found, from kept rows.

python -m experiments.lists.measured
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pandas import DataFrame

from eat_lightning.measure.lists import ListRow
from eat_lightning.runs import jsonl
from experiments.bench.tables import markdown

KEPT = Path(__file__).parent / "results" / "measured.jsonl"
SIZE = 100  # candidates, for which the schedule was certified
FULL = "fp32"


def strategies(rows: Sequence[ListRow], queries: str, size: int = SIZE) -> str:
    """Table of every strategy on lists of one size."""
    some = [row for row in rows if row.queries == queries and row.size == size]
    lines = [
        {
            "strategy": row.strategy,
            "dtype": row.dtype,
            "best ten kept": f"{row.kept:.1f} %",
            "minus fewer of both": f"{row.more:+.1f} ({row.low:+.1f} to {row.high:+.1f})",
            "pairs swapped": f"{row.swapped:.1f} %",
            "NDCG@10": "" if row.ndcg is None else f"{row.ndcg:.1f}",
            "MRR@10": "" if row.mrr is None else f"{row.mrr:.1f}",
            "FLOPs": f"{row.cost:.3f}",
            "ms": "" if row.ms is None else f"{row.ms:.0f}",
        }
        for row in some
    ]
    return markdown(DataFrame(lines))


def sizes(rows: Sequence[ListRow], queries: str, dtype: str) -> str:
    """Table of the schedule beside all layers, by the size of lists.

    Args:
        dtype: in which the schedule was certified.
    """
    found = {(row.size, row.strategy, row.dtype): row for row in rows if row.queries == queries}
    lines = []
    for size in sorted({size for size, _, _ in found}):
        theirs = found[size, "transformers", FULL]
        whole, schedule = found[size, "all layers", dtype], found[size, "schedule", dtype]
        if theirs.ms is None or whole.ms is None or schedule.ms is None:
            continue
        lines.append(
            {
                "candidates": str(size),
                "best ten kept": f"{schedule.kept:.1f} %",
                "FLOPs": f"{schedule.cost:.3f}",
                "transformers, ms": f"{theirs.ms:.0f}",
                f"all layers, {dtype}": f"{whole.ms:.0f}",
                f"schedule, {dtype}": f"{schedule.ms:.0f}",
                "times transformers": f"{theirs.ms / schedule.ms:.1f}",
                "times all layers": f"{whole.ms / schedule.ms:.2f}",
            }
        )
    return markdown(DataFrame(lines))


def main() -> None:
    rows = jsonl.read(KEPT, ListRow)
    for queries in dict.fromkeys(row.queries for row in rows):
        for size in sorted({row.size for row in rows if row.queries == queries}):
            print(f"{queries}, {size} candidates", strategies(rows, queries, size), "", sep="\n\n")


if __name__ == "__main__":
    main()
