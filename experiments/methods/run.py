"""Make the study's results from measured runs; `run.yaml` has the runs and the order.

    python -m experiments.methods.run lines rows=[FOLDER] [against=METHOD]
    python -m experiments.methods.run encoders rows=[FOLDER]
    python -m experiments.methods.run rules rows=[FOLDER]
    python -m experiments.methods.run heads runs='{QQP, seed 2: [FOLDER, FOLDER]}' [texts=16000]

`lines` has each method at each budget, seeds averaged, beside the static model of those seeds;
against= names one to subtract from the others. Of `heads` the further runs have other heads on the
same static model. to= names another folder than `results/`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from eat_lightning.errors import ConfigError, reported
from eat_lightning.report import result
from eat_lightning.report.baselines import gains_of
from eat_lightning.report.difference import Difference, difference
from eat_lightning.report.intervals import Interval
from eat_lightning.report.result import Result
from eat_lightning.report.speed import batch_ms, faster, single_ms, speed_up
from eat_lightning.report.study import KeptRow, Mark, Study, grouped_by, is_static, open_study
from eat_lightning.runs.row import FIXED, Row
from experiments.study import given_of

from .heads import tried

RESULTS = Path(__file__).parent / "results"
JOINT, STATIC = "joint", "the static model"  # a name leaves the plain objective out


def method_of(study: Study, row: Row) -> str:
    """The method's name: what differs from plain joint training of a model with heads."""
    name = study.name_of(row).removeprefix("eat_pruned").strip(", ") or JOINT
    kind = row.exit.kind
    return name if kind == "confidence" or kind in name.split(", ") else f"{name}, {kind}"


def points_of(study: Study) -> dict[tuple[Any, ...], Mark]:
    """Settings that were fitted for a budget, over seeds, by method, task, split and budget."""

    def setting(m: KeptRow) -> tuple[Any, ...]:
        return method_of(study, m.row), m.row.task, m.row.split, m.row.budget

    found = [m for m in study.measured if m.row.budget]
    return {key: over_seeds(same) for key, same in grouped_by(found, setting).items()}


def over_seeds(found: Sequence[KeptRow]) -> Mark:
    by_seed = {m.row.seed: m for m in found}
    return Mark([by_seed[seed] for seed in sorted(by_seed)])


def beside(study: Study, point: Mark, of: Callable[[KeptRow, KeptRow], bool]) -> Mark | None:
    """The rows that go with each of a point's, one for each seed; None where one is missing."""
    pairs = [[m for m in study.measured if of(m, mine)] for mine in point.members]
    return Mark([found[0] for found in pairs]) if all(pairs) else None


def is_trained(m: KeptRow, mine: KeptRow) -> bool:
    """True for the static model that was trained for itself on the same body."""
    same = [(r.task, r.encoder, r.seed, r.split) for r in (m.row, mine.row)]
    return same[0] == same[1] and is_static(m.row) and m.row.model == "minilm"


def is_full(m: KeptRow, mine: KeptRow) -> bool:
    """True for the same weights with nobody leaving early."""
    is_last = m.row.baseline == FIXED and m.row.exit.arguments["layer"] == m.row.num_layers
    return is_last and m.run == mine.run


def lines(given: Mapping[str, Any]) -> Iterator[Result]:
    study, against = open_study(given["rows"]), given.get("against", "")
    points = points_of(study)
    yield from statics(study)
    for (name, *about), point in points.items():
        other = points.get((against, *about))
        yield line_of(study, name, point, None if other is point else other)


def statics(study: Study) -> Iterator[Result]:
    """The static models that were trained for themselves, over seeds."""
    found = [m for m in study.measured if is_trained(m, m) and not m.row.teacher]
    for (task, split), same in grouped_by(found, lambda m: (m.row.task, m.row.split)).items():
        point = over_seeds(same)
        what = {"task": task, "split": split, "method": STATIC, "asked": None}
        values = {"accuracy": percents(point), "flops_ratio": [1.0] * len(point.members)}
        yield Result({**what, "seeds": point.seeds}, values, {"steps": point.row.steps})


def line_of(study: Study, name: str, point: Mark, other: Mark | None) -> Result:
    row, gains = point.row, gains_of(study, point)
    full, trained = beside(study, point, is_full), beside(study, point, is_trained)
    what = {"task": row.task, "split": row.split, "method": name, "asked": row.budget}
    values = {
        "accuracy": percents(point),
        "flops_ratio": point.values("flops_ratio"),
        "retention": point.mean("retention"),
        "full": percents(full) if full else None,
        "gain": points(gains.get("adaptivity_gain")),
        "mix_gain": points(gains.get("mix_gain")),
        "to_trained": interval_of(difference(point, trained)),
        "to_against": interval_of(difference(point, other)),
        **speed_ups([m for m in point.members if m.row.latency_ms is not None]),
    }
    where = {name: getattr(row, name) for name in ("steps", "num_examples", "machine", "commit")}
    return Result({**what, "seeds": point.seeds}, known(values), where)


def speed_ups(timed: list[KeptRow]) -> dict[str, Interval | None]:
    """Over own static, of the seeds that were timed."""
    if not timed:
        return {}
    point = Mark(timed)
    singles, batches = speed_up(point), speed_up(point, "batch_")
    return {"speed_up": rounded(singles), "batch_speed_up": rounded(batches)}


def known(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def percents(point: Mark) -> list[float]:
    return [round(100 * share, 4) for share in point.values("accuracy")]


def points(share: Interval | None) -> Interval | None:
    return rounded(share and share.times(100))


def interval_of(found: Difference | None) -> Interval | None:
    return rounded(found.interval if found else None)


def rounded(found: Interval | None) -> Interval | None:
    return found and Interval(*(round(x, 4) for x in (found.value, found.low, found.high)))


def encoders(given: Mapping[str, Any]) -> Iterator[Result]:
    """Static models, and exits on them, beside the static model that was trained for itself,
    beside the static model of the same encoder, and beside exits on the whole encoder that cost
    about as much."""
    study = open_study(given["rows"])
    points = [Mark([m]) for m in study.measured if not m.row.baseline]
    whole = next(p for p in points if p.is_static and p.row.model == "minilm" and not p.row.teacher)
    exits = [p for p in points if p.row.budget and p.row.encoder == whole.row.encoder]
    for point in points:
        row, share = point.row, point.row.flops / whole.row.flops
        own = next((p for p in points if p.row.run == row.encoder), whole)
        alike = min(exits, key=lambda p: abs(p.row.flops / row.flops - 1), default=None)
        if row.encoder == whole.row.encoder or point.is_static:
            alike = None
        values = {
            "accuracy": percents(point)[0],
            "share": round(share, 4),
            "to_trained": interval_of(difference(point, whole)),
            "to_own": None if point.is_static else interval_of(difference(point, own)),
            "to_exits": interval_of(difference(point, alike)),
            "speed_up": None if point is whole else rounded(faster(point, whole, single_ms)),
            "batch_speed_up": None if point is whole else rounded(faster(point, whole, batch_ms)),
        }
        what = {"task": row.task, "model": row.model, "encoder": row.encoder}
        what |= {"objective": row.objective.kind if row.objective else "", "asked": row.budget}
        where = {name: getattr(row, name) for name in ("steps", "seed", "machine", "commit")}
        yield Result(what, known(values), where)


def rules(given: Mapping[str, Any]) -> Iterator[Result]:
    """Exit rules on the heads of one run, beside confidence asked for as much."""
    fitted = [m for m in open_study(given["rows"]).measured if m.row.budget is not None]
    alike = grouped_by(fitted, lambda m: (m.row.run, m.row.budget, m.row.dtype))
    for same in (found for found in alike.values() if len(found) > 1):
        usual = next(m for m in same if m.row.exit.kind == "confidence")
        for found in same:
            row, more = found.row, difference(Mark([found]), Mark([usual]))
            settings = row.exit.arguments.items()  # lists are layers and points
            what = {"task": row.task, "seed": row.seed, "rule": row.exit.kind, "asked": row.budget}
            what |= {key: value for key, value in settings if type(value) in (int, float)}
            values = {"spent": row.flops_ratio, "accuracy": percents(Mark([found]))[0]}
            where = {name: getattr(row, name) for name in ("num_examples", "data", "commit")}
            yield Result(what, {**values, "more": interval_of(more)}, where)


def heads(given: Mapping[str, Any]) -> Iterator[Result]:
    for name, folders in given["runs"].items():
        yield from tried(name, folders, int(given.get("texts", 16_000)))


STEPS: dict[str, Callable[[Mapping[str, Any]], Iterable[Result]]] = {
    step.__name__: step for step in (lines, encoders, rules, heads)
}


def main(step: str = "", *words: str) -> None:
    if step not in STEPS:
        raise ConfigError(f"a step must be one of {', '.join(STEPS)}, got {step!r}")
    given = given_of(words, ("rows", "runs", "texts", "against", "to"))
    path = Path(given.get("to", RESULTS)) / f"{step}.jsonl"
    found = result.update(path, STEPS[step](given))
    print(f"written: {path}, {len(found)} results")


if __name__ == "__main__":
    with reported():
        main(*sys.argv[1:])
