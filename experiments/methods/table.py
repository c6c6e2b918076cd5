"""The methods that learn, on one body and one number of steps: a Markdown table from kept rows.

python -m experiments.methods.table experiments/methods/results/rows.jsonl
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterable

from eat_lightning.runs.row import FIXED, OWN, Row, read

HEAD = (
    "| trained with | full depth | setting | accuracy | FLOPs | depth | retention "
    "| against fixed depth | batch 1 | batch 32 |\n"
    "|---|---|---|---|---|---|---|---|---|---|"
)


def name_of(row: Row) -> str:
    """What of a run differs from the joint, unpruned one."""
    parts = [
        row.reduction["kind"],
        (row.objective or {}).get("kind", ""),
        (row.schedule or {}).get("kind", ""),
    ]
    return ", ".join(part for part in parts if part not in ("none", "joint", "anneal", ""))


def lines_of(rows: list[Row]) -> Iterable[str]:
    """A line for each setting of one run that was fitted for a budget, else for its own."""
    full = next(row for row in rows if not row.baseline and row.exit["kind"] == "never")
    fitted = [row for row in rows if row.budget is not None]
    kind = next((row.exit["kind"] for row in fitted), "")
    name = ", ".join(part for part in (name_of(full), kind) if part not in ("", "confidence"))
    name = name or ("static" if not fitted else "joint")
    for row in fitted or [full]:
        setting = "" if row.budget is None else f"budget {row.budget:g}"
        yield " | ".join(
            [
                f"| {name}",
                f"{100 * (full.accuracy or 0):.2f}",
                setting,
                f"{100 * (row.accuracy or 0):.2f}",
                f"{row.flops_ratio:.3f}",
                f"{row.depth:.2f}",
                f"{row.retention:.3f}",
                gain_of(row),
                ratio(row.speed_up, row.speed_up_low, row.speed_up_high),
                f"{ratio(row.batch_speed_up, row.batch_speed_up_low, row.batch_speed_up_high)} |",
            ]
        )


def gain_of(row: Row) -> str:
    value, low, high = row.adaptivity_gain, row.adaptivity_gain_low, row.adaptivity_gain_high
    if value is None or low is None or high is None:
        return ""
    text = f"{100 * value:+.2f} ({100 * low:+.2f} to {100 * high:+.2f})"
    return f"**{text}**" if low > 0 or high < 0 else text


def ratio(value: float | None, low: float | None, high: float | None) -> str:
    return "" if value is None else f"{value:.2f} ({low:.2f} to {high:.2f})"


def table_of(rows: Iterable[Row]) -> str:
    runs: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        runs[row.run].append(row)
    lines = [line for run in runs.values() for line in lines_of(run)]
    return "\n".join([HEAD, *lines])


def fixed_depths(rows: Iterable[Row]) -> str:
    """Accuracy of every run with everybody leaving at one layer."""
    runs: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row.baseline == FIXED:
            runs[row.run].append(row)
    lines = []
    for own in runs.values():
        points = [
            f"{r.exit['layer']} ({r.flops_ratio:.3f}) {100 * (r.accuracy or 0):.2f}" for r in own
        ]
        learned = " with berxit" if "berxit" in own[0].run else ""
        lines.append(f"* {name_of(own[0]) or 'joint'}{learned}: {'; '.join(points)}")
    return "\n".join(lines)


if __name__ == "__main__":
    kept = [row for row in read(sys.argv[1]) if row.baseline != OWN]
    print(table_of(kept), fixed_depths(kept), sep="\n\n")
