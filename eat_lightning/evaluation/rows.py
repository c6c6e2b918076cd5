"""Measure all settings: one pass per backbone records every exit, and all exit rules are evaluated
from its record. Settings of all runs are then timed in turns.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from eat_lightning.evaluation.bench import Bench, TimedRow, engine_of
from eat_lightning.evaluation.plan import MeasureSettings, Subject
from eat_lightning.record.timing import keep_kernels, speed_up, time_all
from eat_lightning.runs.row import Row, write


def measured(plan: MeasureSettings, subjects: Sequence[Subject]) -> list[Row]:
    """Measure all settings and write each run's rows to its folder, first untimed and again after
    every timed repeat.
    """
    keep_kernels()
    results = [result for subject in subjects for result in recorded(subject, plan)]
    rows = [result.row for result in results]
    keep(rows, results)
    for rows in timed(results, plan) if plan.timing.enabled else ():
        keep(rows, results)
    return rows


def keep(rows: Sequence[Row], results: Sequence[TimedRow]) -> None:
    """Write rows to the folders of their runs."""
    folders: dict[Path, list[Row]] = {}
    for row, result in zip(rows, results, strict=True):
        folders.setdefault(result.run.folder, []).append(row)
    for folder, in_folder in folders.items():
        for file in {row.file for row in in_folder}:
            write(folder / file, [row for row in in_folder if row.file == file])


def recorded(subject: Subject, plan: MeasureSettings) -> Iterator[TimedRow]:
    """Yield a result for each setting of a run, from one pass per backbone."""
    engine = engine_of(subject.run, plan)
    bench = Bench.of(subject if engine == "torch" else subject.in_engine(engine), plan, engine)
    for settings in bench.backbones():
        yield from bench.results(settings)


def timed(results: Sequence[TimedRow], plan: MeasureSettings) -> Iterator[list[Row]]:
    """Yield rows after each repeat, in which all settings of all runs are timed in turns.

    Speed-ups are against the run's own static backbone. Nothing is timed while a training is
    running on this machine, and timing stops where one starts meanwhile.
    """
    timing, session = plan.timing, secrets.token_hex(6)
    if faults := timing.faults():
        print("\n".join(faults))
        return
    repeats = time_all(
        {i: result.candidate for i, result in enumerate(results)},
        examples=timing.examples,
        warmup=timing.warmup,
        repeats=timing.repeats,
        batch=timing.batch,
        threads=plan.threads,
    )
    for repeat, times in enumerate(repeats):
        if timing.faults():
            print(f"a training started: {repeat} of {timing.repeats} timed repeats are kept")
            return
        static = {results[i].run.folder: times[i] for i in reversed(times) if results[i].static}
        rows = []
        for i, result in enumerate(results):
            base, ratio = static.get(result.run.folder), result.row.flops_ratio
            rows.append(replace(result.row, **time_fields(times[i], base, ratio), session=session))
        yield rows


def time_fields(
    times: dict[str, Any], static: dict[str, Any] | None, flops_ratio: float
) -> dict[str, Any]:
    """Return the timing fields of a row.

    If the static backbone was timed too, speed-ups compare mean times. Intervals are over resampled
    examples, or over whole batches at batch sizes above one.
    """
    fields = {key: value for key, value in times.items() if not key.endswith("_RI")}
    if static is None:
        return fields
    for prefix, taken in {"": "latency_RI", "batch_": "batches_RI"}.items():
        factor, low, high = speed_up(static[taken], times[taken])
        fields[f"{prefix}speed_up"] = factor
        fields[f"{prefix}speed_up_low"], fields[f"{prefix}speed_up_high"] = low, high
        fields[f"{prefix}conversion"] = factor * flops_ratio
    return fields
