"""Models on the plane of which rows and records of dev are kept, but no run.

The cut's records are not kept, so dev is halved, groups whole: operating points chosen on one half
are judged on the other, and both halves make dev again.

Shapes: B examples, E layers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from jaxtyping import Bool, Float

from eat_lightning.errors import ConfigError
from eat_lightning.record.record import Record
from eat_lightning.report.study import Study, open_study
from eat_lightning.runs.row import FIXED
from experiments.plane.models import Model, RunModel
from experiments.plane.systems import Judged, System

from ..kept import right_class_first


@dataclass(frozen=True)
class KeptModel(Model):
    """A model of kept rows.

    Args:
        flops_by_layer: mean FLOPs of dev where all leave at that layer. They count one head; that
            of a layer before, where examples may leave too, is left out (below 0.5 percent).
        mean_tokens: of an example of dev.
    """

    flops_by_layer: dict[int, float]
    mean_tokens: float

    def costs(self, of: Record, layers: Sequence[int]) -> Float[np.ndarray, "e b"]:
        """FLOPs in proportion to an example's tokens."""
        flops_E = np.array([self.flops_by_layer[layer] for layer in layers])
        return flops_E[:, None] * (of.lengths / self.mean_tokens)


def kept_model(name: str, path: str) -> KeptModel:
    """Read the model whose records a folder of kept rows has: FOLDER/examples/FILE."""
    folder, _, file = path.partition("/examples/")
    found = [m for m in study_of(folder).measured if m.row.examples == f"examples/{file}"]
    if not found:
        raise ConfigError(f"kept: {path} has no row beside it")
    row, said = found[0].row, found[0].record
    fixed = [m.row for m in found if m.row.baseline == FIXED]
    flops = {int(row.exit.arguments["layer"]): row.flops for row in fixed}
    flops = flops or {row.num_layers: row.flops}
    guesses = {layer: said.guesses[layer] for layer in flops}
    dev = replace(said, guesses=guesses)
    return KeptModel(name, row.task, row.run, dev, dev, row.data, flops, said.lengths.mean())


@cache
def study_of(folder: str) -> Study:
    return open_study([folder])


def first_half(recorded: Record) -> Bool[np.ndarray, " b"]:
    """Mark a random half of the examples, groups whole."""
    known_B = recorded.cluster_B
    known_B = np.arange(len(recorded)) if known_B is None else known_B
    _, cluster_B = np.unique(known_B, return_inverse=True)
    return (np.random.default_rng(0).permutation(cluster_B.max() + 1) % 2)[cluster_B] == 0


def as_kept(model: Model) -> Model:
    """A run's model beside kept ones, whose records have the right class first and no cut."""
    if not isinstance(model, RunModel):
        return model
    dev = right_class_first(model.dev)
    return replace(model, cut=dev, dev=dev, data=model.dev_data)


def crossed(
    models: Sequence[Model], systems: Callable[[Sequence[Model]], Iterable[System]]
) -> list[System]:
    """Systems of whole dev, each half of it under what the other has chosen. A point that only one
    half has is left out."""
    grouped = [model.dev for model in models if model.dev.cluster_B is not None]
    first_B = first_half([*grouped, models[0].dev][0])
    found: list[dict[tuple[str, str], System]] = []
    for judged_B in (first_B, ~first_B):
        halves = [replace(m, cut=m.dev.take(~judged_B), dev=m.dev.take(judged_B)) for m in models]
        found.append({(system.name, system.kind): system for system in systems(halves)})
    whole, (one, other) = {model.name: model for model in models}, found
    return [
        System(
            system.name,
            system.kind,
            tuple(whole[model.name] for model in system.models),
            [*joined(system, other[key], first_B)],
        )
        for key, system in one.items()
    ]


def joined(one: System, other: System, first_B: Bool[np.ndarray, " b"]) -> Iterable[Judged]:
    """The points that two halves share, in the order of dev."""
    beside = {point.setting: point for point in other.points}
    for point in one.points:
        if (second := beside.get(point.setting)) is not None:
            cost_B, answer_B = np.empty(len(first_B)), np.empty(len(first_B), int)
            cost_B[first_B], cost_B[~first_B] = point.cost_B, second.cost_B
            answer_B[first_B], answer_B[~first_B] = point.answer_B, second.answer_B
            yield Judged(point.setting, cost_B, answer_B, point.asked)
