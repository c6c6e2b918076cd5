"""The README's table: a static body, EAT as printed and EAT as measured, from rows of one machine.

    python experiments/sst2.py outputs/sst2/*/rows.jsonl

Without arguments: the rows of our own runs, beside this file.
"""

import sys
from pathlib import Path

from eat_lightning.rows import Row, read
from eat_lightning.settings import label

OURS = Path(__file__).parent / "results" / "sst2.jsonl"
HEAD = (
    "| model | setting | accuracy | depth | retention | FLOPs ratio | ms, batch 1: mean / p50 / p99 "
    "| speed-up (repeats) | examples/s, batch 32: as they come / sorted | ECE before → after |"
)
MODELS = ("minilm", "eat_paper", "eat")


def rank(row: Row) -> tuple[int, int, float]:
    kind = {"": 2, "own static": 1, "hugging face": 0}[row.baseline]
    tau = row.tau if isinstance(row.tau, float) else 2.0
    return MODELS.index(row.model), kind, tau


def line(row: Row) -> str:
    """One setting; the ECE is that of the earliest exit, on the calibration split."""
    setting = row.baseline or ("static" if row.model == "minilm" else label(row.exit))
    first = min(row.ece_before, key=int, default=None)
    ece = (
        ""
        if first is None
        else f"{first}: {row.ece_before[first]:.3f} → {row.ece_after[first]:.3f}"
    )
    cells = [
        row.model,
        setting,
        f"{100 * (row.accuracy or 0):.2f}",
        f"{row.depth:.2f}",
        f"{row.retention:.3f}",
        f"{row.flops_ratio:.3f}",
        f"{row.latency_ms:.2f} / {row.latency_p50_ms:.2f} / {row.latency_p99_ms:.2f}",
        f"{row.speed_up:.2f} ({row.speed_up_low:.2f}–{row.speed_up_high:.2f})",
        f"{row.throughput:.0f} / {row.throughput_sorted:.0f}",
        ece,
    ]
    return "| " + " | ".join(cells) + " |"


def table(rows: list[Row]) -> str:
    timed = sorted((row for row in rows if row.latency_ms is not None), key=rank)
    return "\n".join([HEAD, "|---" * HEAD.count(" |") + "|", *map(line, timed)])


if __name__ == "__main__":
    paths = [Path(p) for p in sys.argv[1:]] or [OURS]
    print(table([row for path in paths for row in read(path)]))
