"""Tables of `page.md`: what each model keeps at the budgets that were asked for, and its times.

    python -m experiments.budgets.summary

From kept rows of heads from one pass, the same four budgets for every model. A student is a static
model of half the layers, of the same task and seed; of several the most accurate on dev, which
flatters it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from pandas import DataFrame

from eat_lightning.report.study import Measured, Study, open_study
from eat_lightning.runs.row import FIXED, Row
from experiments.bench.tables import markdown

from ..intervals import Interval, paired_difference
from ..one_pass.losses import right

HERE = Path(__file__).parent
FOLDERS = ("one_pass", "aligned", "beside")
RUNS = {
    "sst2_mpnet_heads1": "SST-2, MPNet, 12 layers",
    "sst2_mpnet_b_heads2": "SST-2, MPNet, 12 layers, seed 2",
    "qqp_mpnet_aligned1": "QQP, MPNet, 12 layers",
    "mnli_mpnet_aligned1": "MNLI, MPNet, 12 layers",
    "qqp_minilm_aligned2": "QQP, MiniLM, 6 layers",
    "mnli_minilm_aligned2": "MNLI, MiniLM, 6 layers",
}
ASKED = (0.3, 0.4, 0.5, 0.6)


def kept_rows() -> Study:
    return open_study([str(HERE / name) for name in FOLDERS])


def asked(study: Study, run: str) -> list[Measured]:
    """A run's rows of `ASKED`, the cheapest first."""
    found = [m for m in study.measured if m.row.run == run and m.row.budget in ASKED]
    return sorted(found, key=lambda m: m.row.budget or 0.0)


def student_of(study: Study, exits: Row) -> Measured | None:
    """Find the most accurate static model of half the layers that began with the same body."""
    same = (exits.encoder, exits.seed, exits.num_layers)
    static = [m for m in study.measured if m.row.exit.kind == "never" and not m.row.baseline]
    found = [m for m in static if (m.row.encoder, m.row.seed, 2 * m.row.num_layers) == same]
    return max(found, key=lambda m: m.row.accuracy or 0.0, default=None)


def line(label: str, exits: Measured, student: Measured | None) -> dict[str, str]:
    """Compare an outcome with full depth, the best mix of two depths and a student, in points."""
    row, outcome = exits.row, exits.known
    full_B = outcome.recorded.guesses[row.num_layers].argmax(1)
    lost = paired_difference(right(exits), full_B == outcome.recorded.labels).times(100)
    changed = 100 * np.mean(outcome.logits_BC.argmax(1) != full_B)
    gained = Interval(row.mix_gain, row.mix_gain_low, row.mix_gain_high).times(100)  # type: ignore[arg-type]
    beyond = student and paired_difference(right(exits), right(student)).times(100)
    return {
        "task, body": label,
        "asked": f"{row.budget:g}",
        "spent": f"{row.flops_ratio:.3f}",
        "accuracy": f"{100 * right(exits).mean():.2f}",
        "minus full depth": lost.text(sign="+"),
        "changed": f"{changed:.2f} %",
        "minus the best mix of two depths": gained.text(sign="+"),
        "minus the student": beyond.text(sign="+") if beyond else "",
    }


def lines(study: Study) -> Iterator[dict[str, str]]:
    for run, label in RUNS.items():
        for number, exits in enumerate(asked(study, run)):
            student = student_of(study, exits.row)
            yield line("" if number else label, exits, student)


def time_lines(study: Study) -> Iterator[dict[str, str]]:
    """A line for each timed budget of `RUNS`, and for what was timed in the same call beside it."""
    for run, label in RUNS.items():
        timed = [m.row for m in study.measured if m.row.latency_ms]
        sessions = {row.session for row in timed if row.run == run}
        found = [row for row in timed if row.session in sessions and is_shown(row)]
        for number, row in enumerate(sorted(found, key=lambda row: -(row.latency_ms or 0.0))):
            yield time_line("" if number else label, row)


def is_shown(row: Row) -> bool:
    """True for a budget, a static model, and the fixed depths of the embedding and half of the
    layers."""
    if row.baseline == FIXED:
        return row.depth in (0, row.num_layers / 2)
    return row.exit.kind == "never" or row.budget is not None


def time_line(label: str, row: Row) -> dict[str, str]:
    return {
        "task, body": label,
        "setting": setting(row),
        "accuracy": f"{100 * (row.accuracy or 0.0):.2f}",
        "ms, batch 1": f"{row.latency_ms:.2f}",
        "texts a second, batch 32": f"{row.throughput:,.0f}",
    }


def setting(row: Row) -> str:
    if row.budget is not None:
        return f"asked {row.budget:g}"
    if row.baseline == FIXED:
        return f"all at layer {row.depth:.0f}" if row.depth else "all at the embedding"
    if row.baseline:
        return "all layers"
    head = row.head.kind if row.head else "no"
    return f"student of {row.num_layers}, {head} head"


def tables(study: Study) -> list[str]:
    """Markdown of both."""
    return [markdown(DataFrame(list(found))) for found in (lines(study), time_lines(study))]


if __name__ == "__main__":
    print("\n\n".join(tables(kept_rows())))
