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
    "| model | setting | accuracy | depth | retention | FLOPs ratio | ms: mean / p50 / p99 "
    "| speed-up (repeats) | examples/s / sorted |"
)
MODELS = ("minilm", "eat_paper", "eat")


def rank(row: Row) -> tuple[int, int, float]:
    kind = {"": 2, "own static": 1, "hugging face": 0}[row.baseline]
    tau = row.tau if isinstance(row.tau, float) else 2.0
    return MODELS.index(row.model), kind, tau


def line(row: Row) -> str:
    """One setting."""
    setting = row.baseline or ("static" if row.model == "minilm" else label(row.exit))
    cells = [
        row.model,
        setting,
        f"{100 * (row.accuracy or 0):.2f}",
        f"{row.depth:.2f}",
        f"{row.retention:.3f}",
        f"{row.flops_ratio:.3f}",
        f"{row.latency_ms:.2f} / {row.latency_p50_ms:.2f} / {row.latency_p99_ms:.2f}",
        f"{row.speed_up:.2f} ({row.speed_up_low:.2f} to {row.speed_up_high:.2f})",
        f"{row.throughput:.0f} / {row.throughput_sorted:.0f}",
    ]
    return "| " + " | ".join(cells) + " |"


def table(rows: list[Row]) -> str:
    timed = sorted((row for row in rows if row.latency_ms is not None), key=rank)
    return "\n".join([HEAD, "|---" * HEAD.count(" |") + "|", *map(line, timed)])


def calibration(rows: list[Row]) -> str:
    """ECE of each exit and the temperature that was fitted, on the part of the cut made for it."""
    lines = ["| model | exit at layer | ECE before | temperature | ECE after |", "|---" * 5 + "|"]
    for row in {row.model: row for row in sorted(rows, key=rank)}.values():
        for k, before in row.ece_before.items():
            after = f"{row.temperature[k]:.2f} | {row.ece_after[k]:.3f}"
            lines.append(f"| {row.model} | {k} | {before:.3f} | {after} |")
    return "\n".join(lines)


if __name__ == "__main__":
    paths = [Path(p) for p in sys.argv[1:]] or [OURS]
    found = [row for path in paths for row in read(path)]
    print(table(found), calibration(found), sep="\n\n")
