"""Tables of `page.md`: what each model keeps at the budgets that were asked for, and its times.

    python -m experiments.budgets.summary

From kept rows of heads from one pass, the same four budgets for every model. A student is a static
model of half the layers; of several the most accurate on dev, which flatters it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pandas import DataFrame

from eat_lightning.report.intervals import Interval, paired_difference
from eat_lightning.report.study import Measured, Study, open_study
from eat_lightning.runs import jsonl
from eat_lightning.runs.row import FIXED, STATIC_BASELINE, Row
from experiments.bench.tables import markdown, processor, ranged

from ..one_pass.losses import loss, right
from ..plane.rows import TimedRow, times_path

HERE = Path(__file__).parent
FOLDERS = ("one_pass", "aligned", "beside")
RUNS = {
    "sst2_mpnet_heads1": "SST-2, MPNet, 12 layers",
    "sst2_mpnet_b_heads2": "SST-2, MPNet, 12 layers",
    "sst2_mpnet_c_heads3": "SST-2, MPNet, 12 layers",
    "qqp_mpnet_aligned1": "QQP, MPNet, 12 layers",
    "qqp_mpnet_aligned2": "QQP, MPNet, 12 layers",
    "mnli_mpnet_aligned1": "MNLI, MPNet, 12 layers",
    "mnli_mpnet_aligned2": "MNLI, MPNet, 12 layers",
    "qqp_minilm_aligned1": "QQP, MiniLM, 6 layers",
    "qqp_minilm_aligned2": "QQP, MiniLM, 6 layers",
    "qqp_minilm_aligned3": "QQP, MiniLM, 6 layers",
    "mnli_minilm_aligned1": "MNLI, MiniLM, 6 layers",
    "mnli_minilm_aligned2": "MNLI, MiniLM, 6 layers",
    "mnli_minilm_aligned3": "MNLI, MiniLM, 6 layers",
}
BY_TURNS = {
    "mnli": "MNLI, MPNet, 12 layers",
    "qqp": "QQP, MPNet, 12 layers",
    "sst2": "SST-2, MPNet, 12 layers",
}
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
            yield by_turns_line(row, with_processor(name, row.machine, number))
    timed = [m for m in study.measured if m.row.latency_ms is not None]
    for run in RUNS:
        sessions = {m.row.session for m in timed if m.row.run == run}
        own = [m for m in timed if m.row.run == run and is_shown(m.row)]
        others = [m for m in timed if m.row.session in sessions and is_student(m.row)]
        by_time = sorted([*own, *others], key=lambda m: -(m.row.latency_ms or 0.0))
        for number, measured in enumerate(by_time):
            yield time_line(
                measured, by_time, with_processor(RUNS[run], measured.row.machine, number)
            )


def with_processor(name: str, machine: str, number: int) -> str:
    """Name a part of the table in its first line alone, with the processor of its times."""
    return f"{name}, {processor(machine)}" if number == 0 else ""


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


def time_line(measured: Measured, together: Sequence[Measured], name: str) -> dict[str, str]:
    """Time of a setting, its ratio to all layers and its points above the student of the same
    call."""
    row = measured.row
    whole = next(m.row for m in together if m.row.baseline == STATIC_BASELINE)
    student = next((m for m in together if is_student(m.row)), measured)
    beyond = paired_difference(right(measured), right(student)).times(100).text(sign="+")
    return {
        "task, body": name,
        "setting": setting(row),
        "accuracy": f"{100 * row.accuracy:.2f}",  # type: ignore[operator]
        "ms, batch 1": f"{row.latency_ms:.2f}",
        "texts a second, batch 32": f"{row.throughput:,.0f}",
        "times as fast": times_as_fast(row, whole),
        "over the student": "" if measured is student else beyond,
    }


def times_as_fast(row: Row, whole: Row) -> str:
    """Write the ratio to all layers, with its 95 % interval over examples. A student's row is
    compared with itself, and a call of one repeat has no width: both give the ratio alone."""
    low, high = row.speed_up_low, row.speed_up_high
    if is_student(row) or low is None or high is None or low == high:
        return f"{whole.latency_ms / row.latency_ms:.2f}"  # type: ignore[operator]
    return ranged([row.speed_up, low, high])  # type: ignore[list-item]


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
