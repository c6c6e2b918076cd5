"""Accuracy against FLOPs: fitted budgets (lines) over fixed depths of the same weights (dotted).

python -m experiments.methods.figure experiments/methods/results/rows.jsonl to.png
"""

from __future__ import annotations

import sys
from collections import defaultdict

import matplotlib.pyplot as plt

from eat_lightning.runs.row import FIXED, OWN, Row, read
from experiments.methods.table import name_of


def draw(rows: list[Row], path: str) -> None:
    """One panel for each run that was trained without pruning, and the static model's accuracy."""
    runs: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row.baseline != OWN:
            runs[row.run].append(row)
    whole = [run for run in runs.values() if run[0].reduction["kind"] == "none"]
    static = [run for run in whole if not any(row.budget for row in run)]
    adaptive = [run for run in whole if any(row.budget for row in run)]
    figure, axes = plt.subplots(1, len(adaptive), figsize=(3.2 * len(adaptive), 3), sharey=True)
    for ax, run in zip(axes, adaptive, strict=True):
        fitted = [row for row in run if row.budget is not None]
        fixed = sorted((r for r in run if r.baseline == FIXED), key=lambda r: r.flops_ratio)
        ax.plot(*points(fixed), "o:", color="0.5", mfc="white", label="fixed depth")
        ax.plot(*points(fitted), "o-", color="#d55e00", label="fitted budgets")
        for model in static:
            ax.axhline(
                100 * (model[0].accuracy or 0), color="#0072b2", lw=1, label="trained static"
            )
        learned = " berxit" if fitted[0].exit["kind"] == "berxit" else ""
        ax.set(title=(name_of(run[0]) or "joint") + learned, xlabel="FLOPs, share of full")
    axes[0].set_ylabel("accuracy on SST-2 dev (%)")
    axes[0].legend(frameon=False, loc="lower right")
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def points(rows: list[Row]) -> tuple[list[float], list[float]]:
    return [row.flops_ratio for row in rows], [100 * (row.accuracy or 0) for row in rows]


if __name__ == "__main__":
    draw(read(sys.argv[1]), sys.argv[2])
