"""Make the study's results from finished runs; `run.yaml` has the runs and the order.

    python -m experiments.pays.run plane runs='{MPNet: FOLDER, MiniLM: FOLDER}'
        [gatekeeper=[MiniLM]] [ensembles='[[MiniLM, MiniLM b]]']
    python -m experiments.pays.run times runs='{MPNet 6: FOLDER, MPNet: FOLDER}' [budgets=[0.3]]
        [ms=[40]] [cascades=false] [examples=320]
    python -m experiments.pays.run int8 rows=[FOLDER]
    python -m experiments.pays.run steps rows=[FOLDER]
    python -m experiments.pays.run yardstick

`times` wants the dearest model last. `int8` and `steps` read rows of `eat measure`, `yardstick` the
kept ones. to= names another folder than `results/`, records= one for passes over cut and dev.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from eat_lightning.errors import ConfigError, reported
from eat_lightning.report import result
from eat_lightning.report.intervals import Interval, paired_difference, wilson
from eat_lightning.report.result import Result
from eat_lightning.report.study import KeptRow, grouped_by, open_study
from eat_lightning.runs.row import STATIC_BASELINE, Row
from eat_lightning.runs.training_mark import training_faults
from experiments.study import given_of

from .models import Model, open_model
from .plane import judged, rounded
from .timing import Wanted, timed

RESULTS = Path(__file__).parent / "results"
WHERE = ("machine", "threads", "dtype", "form", "num_examples", "data", "commit")  # of a row


def opened(given: Mapping[str, Any]) -> list[Model]:
    """Models of the finished runs that are named."""
    records = Path(given.get("records", "outputs/pays/records"))
    return [open_model(name, path, records) for name, path in given["runs"].items()]


def chosen(given: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    return {key: given[key] for key in keys if key in given}


def plane(given: Mapping[str, Any]) -> Iterable[Result]:
    return judged(opened(given), given.get("gatekeeper", []), given.get("ensembles", []))


def times(given: Mapping[str, Any]) -> Iterable[Result]:
    if faults := [] if given.get("force") else training_faults("force=true"):
        raise ConfigError.of(faults)
    models = opened(given)
    if len({model.task for model in models}) != 1:
        raise ConfigError("runs must name finished runs of one task, the dearest last")
    return timed(models, Wanted(**chosen(given, "budgets", "ms", "cascades", "examples")))


def int8(given: Mapping[str, Any]) -> Iterator[Result]:
    """Settings of int8 graphs beside all layers in int8 and in fp32."""
    study = open_study(given["rows"])
    statics = {key(m): m for m in study.measured if m.row.baseline == STATIC_BASELINE}
    for measured in study.measured:
        row = measured.row
        if row.dtype != "int8" or (row.budget is None and not row.baseline):
            continue
        whole, exact = statics[key(measured)], statics[key(measured, "fp32")]
        what = {"task": row.task, "layers": row.num_layers, "seed": row.seed, "asked": row.budget}
        ends = ("", "_low", "_high")
        values = {
            "accuracy": round(100 * float(right(measured).mean()), 4),
            "over_int8": difference(measured, whole),
            "over_fp32": difference(measured, exact),
            "latency_ms": row.latency_ms,
            "speed_up": Interval(*(getattr(row, f"speed_up{end}") for end in ends)),
            "batch_ms": 1000 / (row.throughput or np.nan),
            "batch_speed_up": Interval(*(getattr(row, f"batch_speed_up{end}") for end in ends)),
        }
        yield Result(what, values, {name: getattr(row, name) for name in (*WHERE, "kernels")})


def key(measured: KeptRow, dtype: str = "") -> tuple[Any, ...]:
    """What two measurements of one run share, in one dtype."""
    row = measured.row
    return row.task, row.encoder, row.seed, row.num_layers, dtype or row.dtype


def steps(given: Mapping[str, Any]) -> Iterator[Result]:
    """Heads of one pass minus like heads that learned step by step with the backbone, from the same
    tuned model, asked for the same share."""
    study = open_study(given["rows"])
    asked = [m for m in study.measured if m.row.budget is not None]
    for same in grouped_by(asked, lambda m: (key(m), head_of(m.row), m.row.budget)).values():
        by_model = {m.row.model: m for m in same}
        if not {"eat_heads", "eat"} <= by_model.keys():
            continue
        one, other = by_model["eat_heads"], by_model["eat"]
        what = {"task": one.row.task, "layers": one.row.num_layers, "seed": one.row.seed}
        values = {
            "accuracy": round(100 * float(right(one).mean()), 4),
            "by_steps": round(100 * float(right(other).mean()), 4),
            "more": difference(one, other),
        }
        where = {name: getattr(one.row, name) for name in WHERE}
        yield Result({**what, "asked": one.row.budget}, values, where)


def head_of(row: Row) -> str:
    return row.head.kind if row.head else ""


def yardstick(given: Mapping[str, Any]) -> Iterator[Result]:
    """How often two trainings of one model answer alike on dev, at full depth."""
    full = [m for m in open_study([str(RESULTS / "rows.jsonl")]).measured if is_full(m)]
    by_model = grouped_by(full, lambda m: (m.row.task, m.row.num_layers))
    for (task, layers), found in by_model.items():
        for one, other in combinations(sorted(found, key=lambda m: m.row.seed), 2):
            same = int((answers(one) == answers(other)).sum())
            values = {
                "agreement": rounded(wilson(same, len(answers(one))).times(100)),
                "accuracies": [round(100 * float(right(m).mean()), 4) for m in (one, other)],
            }
            what = {"task": task, "layers": layers, "seeds": [one.row.seed, other.row.seed]}
            yield Result(what, values, {k: getattr(one.row, k) for k in ("num_examples", "data")})


def is_full(measured: KeptRow) -> bool:
    return measured.row.baseline == STATIC_BASELINE and measured.row.model == "eat_heads"


def answers(measured: KeptRow) -> np.ndarray:
    return measured.known.logits_BC.argmax(1)


def right(measured: KeptRow) -> np.ndarray:
    return answers(measured) == measured.record.labels


def difference(one: KeptRow, other: KeptRow) -> Interval:
    """Points by which one is more accurate, with its paired 95 % interval."""
    return rounded(paired_difference(right(one), right(other)).times(100))


STEPS: dict[str, Callable[[Mapping[str, Any]], Iterable[Result]]] = {
    step.__name__: step for step in (plane, times, int8, steps, yardstick)
}
KEYS = ("runs", "rows", "records", "to", "gatekeeper", "ensembles", "budgets", "ms", "cascades")


def main(step: str = "", *words: str) -> None:
    if step not in STEPS:
        raise ConfigError(f"a step must be one of {', '.join(STEPS)}, got {step!r}")
    given = given_of(words, (*KEYS, "examples", "force"))
    path = Path(given.get("to", RESULTS)) / f"{step}.jsonl"
    found = result.update(path, STEPS[step](given))
    print(f"written: {path}, {len(found)} results")


if __name__ == "__main__":
    with reported():
        main(*sys.argv[1:])
