"""Systems on the plane: a model at full or fixed depth, with exits, or before another one.

Two models in a row are read as the layers of one: its exits are those of the first, the end of the
first, and those of the second. So one dial, fitted on the cut, serves them all.

Shapes: B examples, E exits and the end.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int

from eat_lightning.methods.exit.confidence import Confidence
from eat_lightning.model.contracts import at_point
from eat_lightning.record.dial_fit import ExitCosts, fit_dial
from eat_lightning.record.record import Record
from eat_lightning.weights.dial import Budget, Dial, DialPoint
from experiments.plane.models import Model

AGREEMENT = "cascade by agreement"


@dataclass(frozen=True)
class Judged:
    """Answers of a system at one operating point, for the examples of dev.

    Args:
        setting: the operating point in words.
        cost_B: FLOPs.
        answer_B: classes.
        asked: cost that was asked for, as a share; None: the point was not asked by cost.
    """

    setting: str
    cost_B: Float[np.ndarray, " b"]
    answer_B: Int[np.ndarray, " b"]
    asked: float | None = None


@dataclass(frozen=True)
class System:
    """A way to answer, with its operating points.

    Args:
        name: of its models.
        kind: static, fixed depth, exits or a kind of cascade.
        models: in their order.
        points: judged on dev.
    """

    name: str
    kind: str
    models: tuple[Model, ...]
    points: list[Judged]


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

    recorded: Record
    cost_EB: Float[np.ndarray, "e b"]

    @classmethod
    def of(cls, parts: Sequence[Part], split: str) -> Joined:
        guesses, costs, before_B = {}, [], np.zeros(())
        for part in parts:
            recorded = getattr(part.model, split)
            cost_EB = before_B + part.model.costs(recorded, part.layers)
            for layer, cost_B in zip(part.layers, cost_EB, strict=True):
                costs.append(cost_B)
                guesses[len(costs)] = recorded.guesses[layer]
            before_B = costs[-1]
        first = getattr(parts[0].model, split)
        tokens_LB = np.tile(first.lengths, (len(costs), 1))
        rule = Confidence(layers=[*range(1, len(costs))])
        recorded = Record(first.labels, first.lengths, guesses, tokens_LB, rule)
        return cls(recorded, np.stack(costs))

    def at(self, point: DialPoint, setting: str, asked: float | None) -> Judged:
        outcome = self.recorded.replay(at_point(self.recorded.exit, point.exit))
        cost_B = self.cost_EB[outcome.depth_B - 1, np.arange(len(self.recorded))]
        return Judged(setting, cost_B, outcome.logits_BC.argmax(1), asked)


@dataclass(frozen=True)
class Chain:
    """Parts in a row with the dial that the cut gives them.

    Args:
        parts: of one model or of two.
        full_cost: FLOPs on the cut of what costs are shares of.
    """

    parts: Sequence[Part]
    full_cost: float

    @cached_property
    def dial(self) -> Dial:
        """Points by the least chance that an answer stays that of the last model's full depth."""
        row = Joined.of(self.parts, "cut")
        cost_EB = row.cost_EB / self.full_cost
        points = fit_dial(
            row.recorded.exit, row.recorded, ExitCosts(cost_EB), float(cost_EB[-1].mean())
        )
        return Dial("share", points, len(row.recorded), {})

    def judged(self, budgets: Sequence[float], agree: Sequence[float]) -> list[Judged]:
        """Judge the points for costs and for shares of unchanged answers, each point once. Costs
        that even the laxest point exceeds are left out, and those that full depth does not use."""
        row, found, seen = Joined.of(self.parts, "dev"), [], {self.dial.points[0].cost}
        for budget in sorted(budgets):
            if budget < self.dial.points[-1].cost:
                continue
            point = self.dial.at(Budget(budget))
            if point.cost not in seen:
                found.append(row.at(point, f"cost {budget:g}", budget))
                seen.add(point.cost)
        points = [(self.dial.at(Budget(share, "agree")), f"agree {share:g}") for share in agree]
        return [*found, *(row.at(point, setting, None) for point, setting in points)]


def alone(model: Model) -> Iterator[System]:
    """A model at full depth, and at each fixed depth that has a head."""
    for layer in model.layers:
        kind = "static" if layer == model.last else "fixed depth"
        cost_B, answer_B = model.fixed_cost(model.dev, layer), model.dev.guesses[layer].argmax(1)
        yield System(model.name, kind, (model,), [Judged(f"layer {layer}", cost_B, answer_B)])


def exits_agree(first: Model, second: Model) -> System:
    """Agreement-based cascade whose ensemble is the first model's last exits: the second model
    answers where not all of them name one class. Nothing is fitted."""
    points, answers_EB = [], np.stack([first.dev.guesses[k].argmax(1) for k in first.layers])
    whole_B = second.fixed_cost(second.dev, second.last)
    second_B = second.dev.guesses[second.last].argmax(1)
    for count in range(2, len(first.layers) + 1):
        asked_EB = answers_EB[-count:]
        stays_B = (asked_EB == asked_EB[-1]).all(0)
        cost_B = first.costs(first.dev, first.layers[-count:])[-1]
        points.append(
            Judged(
                f"last {count} exits",
                np.where(stays_B, cost_B, cost_B + whole_B),
                np.where(stays_B, asked_EB[-1], second_B),
            )
        )
    return System(f"{first.name} > {second.name}", AGREEMENT, (first, second), points)


def models_agree(ensemble: Sequence[Model], second: Model) -> System:
    """Agreement-based cascade (ABC, 2407.02348): the second model answers where the models of an
    ensemble do not all name one class. Nothing is fitted."""
    answers_MB = np.stack([model.dev.guesses[model.last].argmax(1) for model in ensemble])
    stays_B = (answers_MB == answers_MB[0]).all(0)
    cost_B = np.sum([model.fixed_cost(model.dev, model.last) for model in ensemble], 0)
    whole_B = second.fixed_cost(second.dev, second.last)
    point = Judged(
        f"{len(ensemble)} models",
        np.where(stays_B, cost_B, cost_B + whole_B),
        np.where(stays_B, answers_MB[0], second.dev.guesses[second.last].argmax(1)),
    )
    name = f"{' + '.join(model.name for model in ensemble)} > {second.name}"
    return System(name, AGREEMENT, (*ensemble, second), [point])
