"""Exits and cascades over their cost, judged on dev: the step `plane` of `run.py`.

Every model stands alone, with exits, and before the dearest one. Operating points are chosen on the
cut.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from eat_lightning.errors import ConfigError
from eat_lightning.report.intervals import Interval, mean_interval, paired_difference
from eat_lightning.report.result import Result
from eat_lightning.runs.run import provenance

from .gatekeeper import gatekeeper
from .models import Model
from .systems import Chain, Judged, Part, System, chains, models_agree, static

BUDGETS = (
    *(0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1, 0.13, 0.17, 0.21, 0.25, 0.3, 0.34),
    *(0.38, 0.42, 0.46, 0.5, 0.55, 0.6, 0.7, 0.8),
)
MUCH_CHEAPER = 0.6  # of the second model's cost: a first model that costs more saves nothing


def mean_cost(model: Model) -> float:
    """Mean FLOPs of full depth on the cut."""
    return float(model.full_cost(model.cut).mean())


def judged(
    models: Sequence[Model],
    tuned: Sequence[str] = (),
    ensembles: Sequence[Sequence[str]] = (),
) -> list[Result]:
    """Results of every system.

    Args:
        tuned: names of the models whose last heads Gatekeeper tunes (minutes each).
        ensembles: names of the models that answer where all of them agree, a list each.

    Raises ConfigError where the models have seen different examples, or a name is none of theirs.
    """
    if len({model.data for model in models}) != 1:
        raise ConfigError("runs must be of one task with the same dev")
    by_name, last = {model.name: model for model in models}, max(models, key=mean_cost)
    if unknown := {*tuned, *(name for names in ensembles for name in names)} - by_name.keys():
        raise ConfigError(f"runs must name {min(unknown)!r}, got {', '.join(by_name)}")
    found = [*systems(models, last, tuned)]
    found += [models_agree([by_name[name] for name in names], last) for names in ensembles]
    exits = next(s.points for s in found if (s.kind, s.models) == ("exits", [last]))
    pairs = [(system, point) for system in found for point in system.points]
    return [result_of(system, point, beside(point, exits), last) for system, point in pairs]


def systems(models: Sequence[Model], last: Model, tuned: Sequence[str]) -> Iterator[System]:
    """Every model alone, with exits, and before `last`."""
    full_cost = mean_cost(last)
    for model in models:
        yield static(model)
        if len(model.layers) > 1:
            yield Chain("exits", [Part.whole(model)], full_cost).judged(BUDGETS)
        if mean_cost(model) < MUCH_CHEAPER * full_cost:
            for chain in chains(model, last, full_cost):
                yield chain.judged(BUDGETS)
            if model.name in tuned:
                yield gatekeeper(model, last, full_cost, BUDGETS).judged(BUDGETS)


def beside(point: Judged, exits: Sequence[Judged]) -> Judged | None:
    """Exits of the dearest model that were asked for the same cost; where none was asked for, the
    dearest of those that cost no more."""
    if point.asked is not None:
        return next((each for each in exits if each.asked == point.asked), None)
    cheaper = [each for each in exits if each.cost_B.mean() <= point.cost_B.mean()]
    return max(cheaper, key=lambda each: each.cost_B.mean(), default=None)


def result_of(system: System, point: Judged, exits: Judged | None, dearest: Model) -> Result:
    """Accuracy and cost of a point, and its points above the dearest model's exits."""
    last = system.models[-1]
    right_B = point.answer_B == last.dev.labels
    unchanged_B = point.answer_B == last.full_answers(last.dev)
    cost, full = (float(x.mean()) for x in (point.cost_B, dearest.full_cost(dearest.dev)))
    what = {"task": last.task, "system": system.name, "kind": system.kind}
    what |= {"setting": point.setting, "seeds": [model.seed for model in system.models]}
    values: dict[str, Any] = {
        "share": round(cost / full, 5),
        "gflops": float(f"{cost / 1e9:.5g}"),
        "accuracy": rounded(mean_interval(right_B).times(100)),
        "unchanged": round(100 * float(unchanged_B.mean()), 2),
    }
    if point.asked is not None:
        values["asked"] = point.asked
    if exits is not None and exits is not point:
        more = paired_difference(right_B, exits.answer_B == last.dev.labels)
        values["beside"] = rounded(more.times(100))
    where = {"num_examples": len(right_B), "num_cut": len(last.cut), "data": last.data}
    return Result(what, values, {**where, "commit": provenance()["commit"]})


def rounded(found: Interval, digits: int = 4) -> Interval:
    return Interval(*(round(x, digits) for x in (found.value, found.low, found.high)))
