"""Tables of `page.md`: what each model keeps at the budgets that were asked for, and its times.

    python -m experiments.budgets.summary

From kept rows of heads from one pass, the same four budgets for every model. A student is a static
model of half the layers; of several the most accurate on dev, which flatters it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pandas import DataFrame

from eat_lightning.report.study import Measured, Study, open_study
from eat_lightning.runs import jsonl
from eat_lightning.runs.row import FIXED, Row
from experiments.bench.tables import markdown, ranged

from ..intervals import Interval, paired_difference
from ..one_pass.losses import loss, right
from ..plane.rows import TimedRow, times_path

HERE = Path(__file__).parent
FOLDERS = ("one_pass", "aligned", "beside")
RUNS = {
    "sst2_mpnet_heads1": "SST-2, MPNet, 12 layers",
    "sst2_mpnet_b_heads2": "SST-2, MPNet, 12 layers",
    "qqp_mpnet_aligned1": "QQP, MPNet, 12 layers",
    "qqp_mpnet_aligned2": "QQP, MPNet, 12 layers",
    "mnli_mpnet_aligned1": "MNLI, MPNet, 12 layers",
    "qqp_minilm_aligned1": "QQP, MiniLM, 6 layers",
    "qqp_minilm_aligned2": "QQP, MiniLM, 6 layers",
    "mnli_minilm_aligned1": "MNLI, MiniLM, 6 layers",
    "mnli_minilm_aligned2": "MNLI, MiniLM, 6 layers",
}
BY_TURNS = {"mnli": "MNLI, MPNet, 12 layers", "qqp": "QQP, MPNet, 12 layers"}
STUDENT = "MPNet, 6 layers"
ASKED = (0.3, 0.4, 0.5, 0.6)


def kept_rows() -> Study:
    return open_study([str(HERE / name) for name in FOLDERS])


def tables(study: Study) -> list[str]:
    """Markdown of the two tables of `page.md`."""
    found = DataFrame(list(lines(study))), DataFrame(list(time_lines(study)))
    return [markdown(table.fillna("")) for table in found]


def lines(study: Study) -> Iterator[dict[str, Any]]:
    for run in RUNS:
        found = [m for m in study.measured if m.row.run == run and m.row.budget in ASKED]
        for number, exits in enumerate(sorted(found, key=lambda m: m.row.budget or 0.0)):
            yield line(exits, student_of(study, exits.row), is_first=number == 0)


def line(exits: Measured, student: Measured | None, is_first: bool) -> dict[str, Any]:
    """Compare an outcome with full depth, the best mix of two depths and a student, in points."""
    row, losses = exits.row, loss(exits)
    losses.pop("full depth")
    gained = Interval(row.mix_gain, row.mix_gain_low, row.mix_gain_high)  # type: ignore[arg-type]
    beyond = student and paired_difference(right(exits), right(student))
    return {
        "task, body": f"{RUNS[row.run]}, seed {row.seed}" if is_first else "",
        "asked": f"{row.budget:g}",
        **losses,
        "over the best mix": gained.times(100).text(sign="+"),
        "over the student": beyond.times(100).text(sign="+") if beyond else "",
    }


def student_of(study: Study, exits: Row) -> Measured | None:
    """Find the most accurate static model of half the layers, of the same task, body and seed."""
    same = (exits.task, exits.encoder, exits.seed, exits.num_layers)
    found = [
        m
        for m in study.measured
        if is_student(m.row)
        and (m.row.task, m.row.encoder, m.row.seed, 2 * m.row.num_layers) == same
    ]
    return max(found, key=lambda m: right(m).mean(), default=None)


def is_student(row: Row) -> bool:
    return row.exit.kind == "never" and not row.baseline


def time_lines(study: Study) -> Iterator[dict[str, str]]:
    """Times of all settings of a task by turns, then of each budget of `RUNS` that was timed and of
    what was timed in the same call beside it."""
    for task, name in BY_TURNS.items():
        rows = jsonl.read(times_path(HERE, task), TimedRow)
        for number, row in enumerate(sorted(rows, key=lambda row: -row.latency_ms)):
            yield by_turns_line(row, name if number == 0 else "")
    timed = [m.row for m in study.measured if m.row.latency_ms is not None]
    for run in RUNS:
        sessions = {row.session for row in timed if row.run == run}
        own = [row for row in timed if row.run == run and is_shown(row)]
        others = [row for row in timed if row.session in sessions and is_student(row)]
        by_time = sorted([*own, *others], key=lambda row: -(row.latency_ms or 0.0))
        for number, row in enumerate(by_time):
            yield time_line(row, RUNS[run] if number == 0 else "")


def by_turns_line(row: TimedRow, name: str) -> dict[str, str]:
    """Time of a setting, with its ratio and its points above the static model of six layers."""
    beyond = "" if row.system == STUDENT else Interval(*row.above[STUDENT]).text(sign="+")
    asked = "all layers" if row.asked is None else f"asked {row.asked:g}"
    if row.asked_ms is not None:
        asked = f"asked {row.asked_ms:g} ms"
    return {
        "task, body": name,
        "setting": f"{row.system}, {asked}",
        "accuracy": f"{row.accuracy:.2f}",
        "ms, batch 1": f"{row.latency_ms:.2f}",
        "texts a second, batch 32": f"{1000 / row.batch_ms:,.0f}",
        "times as fast": ranged(row.speed_up),
        "over the student": beyond,
    }


def is_shown(row: Row) -> bool:
    """True for a budget, all layers, and the fixed depths of the embedding and half of the
    layers."""
    if row.baseline == FIXED:
        return row.depth in (0, row.num_layers / 2)
    return row.exit.kind == "never" or row.budget is not None


def time_line(row: Row, name: str) -> dict[str, str]:
    return {
        "task, body": name,
        "setting": setting(row),
        "accuracy": f"{100 * row.accuracy:.2f}",  # type: ignore[operator]
        "ms, batch 1": f"{row.latency_ms:.2f}",
        "texts a second, batch 32": f"{row.throughput:,.0f}",
    }


def setting(row: Row) -> str:
    if row.budget is not None:
        return f"asked {row.budget:g}"
    if row.baseline == FIXED:
        return f"all at layer {row.depth:.0f}" if row.depth else "all at the embedding"
    if row.head is None or row.baseline:
        return "all layers"
    return f"student of {row.num_layers}, head={row.head.kind}"


if __name__ == "__main__":
    print("\n\n".join(tables(kept_rows())))
