"""Accuracy over cost for everything at hand: static models, exits and cascades.

    python -m experiments.plane runs={A: FOLDER, B: FOLDER} [records=outputs/plane] [to=FOLDER]
        [gatekeeper=[A]] [ensembles=[[A,B]]]
    python -m experiments.plane kept=experiments/plane/kept.yaml [to=FOLDER]
    python -m experiments.plane [to=FOLDER]      # the tables and figures of the rows there

Runs of several tasks may be named together; a list of folders has their names. Records of a run's
cut and dev are made once and kept in `records`, so that a second call runs no encoder but for
Gatekeeper's heads, of the models that `gatekeeper` names (minutes each). ensembles: models that
stand before the dearest together, such as two seeds of one body. Nothing is chosen on dev. kept:
models of kept rows, see `kept`; beside runs those of their tasks.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import yaml

from eat_lightning.errors import ConfigError, reported
from eat_lightning.files import write_text
from eat_lightning.progress import shown
from eat_lightning.report.study import grouped_by
from eat_lightning.runs.run import provenance
from eat_lightning.validation import is_list
from experiments.plane.gatekeeper import best_chain, gatekeepers
from experiments.plane.kept import as_kept, crossed, kept_model
from experiments.plane.models import Model, RunModel, open_model
from experiments.plane.rows import Plane
from experiments.plane.show import report
from experiments.plane.systems import Chain, Part, System, alone, exits_agree, models_agree
from experiments.study import given_of

HERE = Path(__file__).parent
KEYS = ("runs", "kept", "records", "to", "gatekeeper", "ensembles")
BUDGETS = (
    *(0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1, 0.13, 0.17, 0.21, 0.25, 0.3, 0.34),
    *(0.38, 0.42, 0.46, 0.5, 0.55, 0.6, 0.7, 0.8),
)
AGREE = (0.99,)
MUCH_CHEAPER = 0.6  # of the second model's cost: a first model that costs more saves nothing


SAME = 0.99  # of the dearest model's cost: of several such ones the first named is asked last


def cost(model: Model, split: str = "cut") -> float:
    """Mean FLOPs of full depth."""
    return float(model.fixed_cost(getattr(model, split), model.last).mean())


@dataclass(frozen=True)
class Extras:
    """Systems that are made only where they are asked for.

    Args:
        gatekeeper: names of the models whose last heads Gatekeeper tunes.
        ensembles: names of the models that answer where all of them agree, one list each.
    """

    gatekeeper: Sequence[str] = ()
    ensembles: Sequence[Sequence[str]] = ()

    def __post_init__(self) -> None:
        """Refuse what is no list of names."""
        if not is_names(self.gatekeeper):
            raise ConfigError(f"gatekeeper must be a list of names, got {self.gatekeeper!r}")
        if not (is_list(self.ensembles) and all(is_names(each) for each in self.ensembles)):
            raise ConfigError(f"ensembles must be lists of names, got {self.ensembles!r}")

    def check(self, models: Sequence[Model], dearest: Model) -> None:
        """ConfigError where a name is no model's, or an ensemble is too dear to stand first."""
        known = {model.name: cost(model) for model in models}
        for name in [*self.gatekeeper, *chain.from_iterable(self.ensembles)]:
            if name not in known:
                raise ConfigError(f"runs must name {name!r}, got {', '.join(known)}")
        for names in self.ensembles:
            share = sum(known[name] for name in names) / cost(dearest)
            if share >= MUCH_CHEAPER:
                raise ConfigError(
                    f"ensembles: {names} must cost below {MUCH_CHEAPER} of {dearest.name}, "
                    f"got {share:.2f}"
                )


def is_names(value: Any) -> bool:
    return is_list(value) and all(isinstance(name, str) for name in value)


def systems(models: Sequence[Model], last: str, extras: Extras) -> Iterator[System]:
    """Every model alone, with exits, and before `last`."""
    by_name = {model.name: model for model in models}
    second = by_name[last]
    full_cost = cost(second)
    for model in models:
        yield from alone(model)
        if len(model.layers) > 1:
            yield chained(model.name, "exits", [Part.whole(model)], full_cost)
        if cost(model) < MUCH_CHEAPER * full_cost:
            yield from cascades(model, second, full_cost)
            if model.name in extras.gatekeeper and isinstance(model, RunModel):
                yield gatekeeper(model, second, full_cost)
    for names in extras.ensembles:
        yield models_agree([by_name[name] for name in names], second)


def cascades(first: Model, second: Model, full_cost: float) -> Iterator[System]:
    """Two models, one after the other."""
    name = f"{first.name} > {second.name}"
    ends = [Part.end(first), Part.end(second)]
    yield chained(name, "cascade by confidence", ends, full_cost)
    if len(second.layers) > 1:
        parts = [Part.end(first), Part.whole(second)]
        yield chained(name, "cascade into exits", parts, full_cost)
    if len(first.layers) > 1:
        yield exits_agree(first, second)
    if len(first.layers) > 1 and len(second.layers) > 1:
        parts = [Part.whole(first), Part.whole(second)]
        yield chained(name, "exits of both", parts, full_cost)


def gatekeeper(first: RunModel, second: Model, full_cost: float) -> System:
    """Two models in a row, of which the first has a last head that is tuned to defer."""
    alpha, chain = best_chain(gatekeepers(first), second, full_cost, BUDGETS)
    points = chain.judged(BUDGETS, AGREE)
    name = f"{first.name} > {second.name}"
    return System(name, f"Gatekeeper, alpha {alpha:g}", (first, second), points)


def chained(name: str, kind: str, parts: Sequence[Part], full_cost: float) -> System:
    points = Chain(parts, full_cost).judged(BUDGETS, AGREE)
    return System(name, kind, tuple(part.model for part in parts), points)


def plane_of(models: Sequence[Model], extras: Extras = Extras()) -> Plane:
    """ConfigError where the models of a task have seen different examples. One kept model is enough
    for operating points to be chosen on halves of dev."""
    is_crossed = any(not isinstance(model, RunModel) for model in models)
    if is_crossed and extras.gatekeeper:
        raise ConfigError("gatekeeper needs finished runs alone, got kept models beside them")
    models = [*map(as_kept, models)] if is_crossed else models
    if len({model.data for model in models}) > 1:
        names = ", ".join(model.name for model in models)
        raise ConfigError(f"runs: cut and dev must be the same examples, got others of {names}")
    dearest = max(cost(model, "dev") for model in models)
    last = next(model for model in models if cost(model, "dev") > SAME * dearest)
    extras.check(models, last)
    all_systems = partial(systems, last=last.name, extras=extras)
    found = crossed(models, all_systems) if is_crossed else all_systems(models)
    return Plane.of([*found], cost(last, "dev"), provenance()["commit"], is_crossed)


def main(arguments: Sequence[str]) -> None:
    given = given_of(arguments, KEYS)
    to = Path(given.get("to", HERE / ("results" if "runs" in given else "before")))
    extras = Extras(**{key: given[key] for key in ("gatekeeper", "ensembles") if key in given})
    for models in given_models(given).values():
        plane_of(models, extras).write(to)
        print(f"written: {to / models[0].task}.jsonl", flush=True)
    tasks = sorted(path.stem for path in to.glob("*.jsonl"))
    if not tasks:
        raise ConfigError(f"to={to} has no rows: name runs={{NAME: FOLDER}}")
    parts = [report(Plane.read(to, task), to) for task in tasks]
    write_text(to / "report.md", "\n\n".join(["# Accuracy over cost", *parts]) + "\n")
    print(f"written: {to / 'report.md'}")


def given_models(given: Mapping[str, Any]) -> dict[str, list[Model]]:
    """The models that were named, by task."""
    records, runs = Path(given.get("records", "outputs/plane")), given.get("runs", {})
    named = runs if isinstance(runs, dict) else {Path(run).name: run for run in runs}
    models: list[Model] = [
        open_model(name, path, records) for name, path in shown([*named.items()], "runs", fewest=2)
    ]
    if "kept" in given:
        by_task = yaml.safe_load(Path(given["kept"]).read_text("utf-8"))
        tasks = {model.task for model in models} or by_task.keys()
        pairs = [pair for task in tasks for pair in by_task.get(task, {}).items()]
        models += [kept_model(*pair) for pair in pairs]
    return grouped_by(models, lambda model: model.task)


if __name__ == "__main__":
    with reported():
        main(sys.argv[1:])
