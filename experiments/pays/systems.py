"""Ways to answer at a cost: a model with exits, or one model before another.

Two models in a row are read as the layers of one: its exits are those of the first model, the end
of the first, and those of the second. So one dial, fitted on the cut, serves them all.

Shapes: B examples, E exits and the end, M models.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int

from eat_lightning.methods.exit.confidence import Confidence
from eat_lightning.record.dial import Budget, Dial
from eat_lightning.record.dial_fit import ExitCosts, fit_dial
from eat_lightning.record.measured import Measured
from eat_lightning.record.record import Record

from .models import Model

AGREE = 0.99  # share of unchanged answers that is asked for


@dataclass(frozen=True)
class Judged:
    """A system's answers to dev at one operating point.

    Args:
        setting: the operating point in words.
        cost_B: FLOPs.
        answer_B: classes.
        asked: the share of cost that was asked for; None where the point was not asked by cost.
    """

    setting: str
    cost_B: Float[np.ndarray, " b"]
    answer_B: Int[np.ndarray, " b"]
    asked: float | None = None


@dataclass(frozen=True)
class System:
    """Models in their order, with the operating points that were judged on dev."""

    name: str
    kind: str
    models: Sequence[Model]
    points: Sequence[Judged]


@dataclass(frozen=True)
class Part:
    """A model, and at which of its layers examples may leave; the last one is its end."""

    model: Model
    layers: Sequence[int]

    @classmethod
    def whole(cls, model: Model) -> Part:
        return cls(model, model.layers)

    @classmethod
    def end(cls, model: Model) -> Part:
        return cls(model, [model.last])


@dataclass(frozen=True)
class Joined:
    """Parts in a row as one encoder on one split. cost_EB: FLOPs of leaving at each layer."""

    record: Record
    cost_EB: Float[np.ndarray, "e b"]

    @classmethod
    def of(cls, parts: Sequence[Part], split: str) -> Joined:
        guesses, costs, before_B = {}, [], np.zeros(())
        for part in parts:
            record = getattr(part.model, split)
            cost_EB = before_B + part.model.costs(record, part.layers)
            for layer, cost_B in zip(part.layers, cost_EB, strict=True):
                costs.append(cost_B)
                guesses[len(costs)] = record.guesses[layer]
            before_B = costs[-1]
        first = getattr(parts[0].model, split)
        tokens_LB = np.tile(first.lengths, (len(costs), 1))
        rule = Confidence(layers=[*range(1, len(costs))])
        record = Record(first.labels, first.lengths, guesses, tokens_LB, rule)
        return cls(record, np.stack(costs))

    def at(self, point: Measured, setting: str, asked: float | None = None) -> Judged:
        trace = self.record.replay(point.point)
        cost_B = self.cost_EB[trace.depth_B - 1, np.arange(len(self.record))]
        return Judged(setting, cost_B, trace.logits_BC.argmax(1), asked)


@dataclass(frozen=True)
class Chain:
    """Parts in a row, of one model or of two, with the dial that the cut gives them.

    Args:
        full_cost: FLOPs on the cut of what costs are shares of.
    """

    kind: str
    parts: Sequence[Part]
    full_cost: float

    @property
    def name(self) -> str:
        return " > ".join(part.model.name for part in self.parts)

    @cached_property
    def dial(self) -> Dial:
        """Points by the least chance that an answer stays that of the last model's full depth."""
        row = Joined.of(self.parts, "cut")
        costs = ExitCosts(row.cost_EB / self.full_cost)
        full_cost = float(costs.cost_EB[-1].mean())
        points = fit_dial(row.record.exit, row.record, costs, full_cost)
        return Dial("share", points, len(row.record), {})

    def points(self, budgets: Sequence[float]) -> dict[float, Measured]:
        """The point for each cost, each once. Costs that even the laxest point exceeds are left
        out, and those that full depth does not use."""
        found: dict[float, Measured] = {}
        full, laxest = self.dial.points[0], self.dial.points[-1]
        for budget in sorted(b for b in budgets if b >= laxest.cost):
            point = self.dial.at(Budget(budget))
            if point.cost not in [full.cost, *(each.cost for each in found.values())]:
                found[budget] = point
        return found

    def judged(self, budgets: Sequence[float]) -> System:
        """Answers to dev at each cost, and where `AGREE` of them should stay."""
        dev, asked = Joined.of(self.parts, "dev"), self.points(budgets)
        points = [dev.at(point, f"cost {budget:g}", budget) for budget, point in asked.items()]
        points.append(dev.at(self.dial.at(Budget(AGREE, "agree")), f"agree {AGREE:g}"))
        return System(self.name, self.kind, [part.model for part in self.parts], points)


def static(model: Model) -> System:
    """A model with every layer."""
    point = Judged("every layer", model.full_cost(model.dev), model.full_answers(model.dev))
    return System(model.name, "static", [model], [point])


def chains(first: Model, second: Model, full_cost: float) -> Iterator[Chain]:
    """Two models, one after the other, with the exits that both have."""
    end, whole = Part.end(first), Part.whole(second)
    yield Chain("cascade by confidence", [end, Part.end(second)], full_cost)
    if len(second.layers) > 1:
        yield Chain("cascade into exits", [end, whole], full_cost)
    if len(first.layers) > 1 and len(second.layers) > 1:
        yield Chain("exits of both", [Part.whole(first), whole], full_cost)


def models_agree(ensemble: Sequence[Model], second: Model) -> System:
    """Agreement-based cascade (ABC, 2407.02348): the second model answers where the models of an
    ensemble do not all name one class. Nothing is fitted."""
    answers_MB = np.stack([model.full_answers(model.dev) for model in ensemble])
    stays_B = (answers_MB == answers_MB[0]).all(0)
    cost_B = np.sum([model.full_cost(model.dev) for model in ensemble], 0)
    point = Judged(
        f"{len(ensemble)} models agree",
        np.where(stays_B, cost_B, cost_B + second.full_cost(second.dev)),
        np.where(stays_B, answers_MB[0], second.full_answers(second.dev)),
    )
    name = f"{' + '.join(model.name for model in ensemble)} > {second.name}"
    return System(name, "cascade by agreement", [*ensemble, second], [point])
