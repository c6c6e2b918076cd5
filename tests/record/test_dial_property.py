"""The dial on any records: of any size, number of classes and exits, rule and costs of heads."""

from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from helpers.models import kinds, method

from eat_lightning.model.contracts import ExitRule, at_point, overrides
from eat_lightning.model.specification import build
from eat_lightning.new.toy import kind_for
from eat_lightning.record.dial_fit import ExitCosts, fit_dial
from eat_lightning.record.record import Record
from eat_lightning.weights.dial import Budget, Dial

KNOBS = [kind for kind in kinds("exit") if method("exit", kind).knob is not None]
BY_GUESSES = [kind for kind in KNOBS if not overrides(method("exit", kind), ExitRule.observe)]
LOOKS_BACK = ("fpabee", "fpabee_labels", "pcee")  # at the exit before, so that these need two
GUESSES: list[Any] = [  # from noise and from the guesses of the layer before
    lambda noise_BC, _: 3 * noise_BC,
    lambda noise_BC, _: noise_BC.round(),  # many tie
    lambda noise_BC, _: 0 * noise_BC + noise_BC[0],  # all tie
    lambda noise_BC, _: 1000 * noise_BC,  # probabilities are 0 and 1
    lambda _, before_BC: before_BC,
]
HEADS = [None, 0.005, 0.3, 2.0]  # so many layers a head costs
SEEDS = range(3 * len(BY_GUESSES))


class Drawn:
    """Records, the dial that is fitted on them, and others of the same rule. All is drawn: 2 to 200
    examples, 2 to 5 classes, up to 6 exits from layer 0 or 1 on, and what a layer of each example
    costs."""

    def __init__(self, seed: int):
        self.generator = generator = np.random.default_rng(seed)
        kind = BY_GUESSES[seed % len(BY_GUESSES)]
        first, num_exits = generator.integers(2), generator.integers(kind in LOOKS_BACK, 6) + 1
        layers = [*range(first, first + num_exits)]
        self.exit = build("exit", {"kind": kind, "layers": layers})
        self.num_classes, self.num_layers = int(generator.integers(2, 6)), first + num_exits
        self.guesses = generator.choice(GUESSES, num_exits + 1)
        self.recorded, self.others = self.records(), self.records()
        self.layer_B = generator.uniform(0.2, 1.8, len(self.recorded))
        self.layer_B /= self.layer_B.sum() * self.num_layers / len(self.recorded)
        self.head = HEADS[generator.integers(4)] if self.exit.last_only else None
        self.points = fit_dial(self.exit, self.recorded, self.costs(), 1.0)

    def records(self) -> Record:
        kind, size = (
            kind_for(self.exit, self.num_classes),
            round(2 * 100 ** self.generator.random()),
        )
        guess_BC, guesses = np.zeros((size, kind.width), np.float32), {}
        for layer, guess in enumerate(self.guesses, start=self.exit.layers[0]):
            noise_BC = self.generator.normal(size=guess_BC.shape).astype(np.float32)
            guess_BC = guesses[layer] = guess(noise_BC, guess_BC)
        labels = self.generator.integers(0, 2, (size, *kind.label_shape))
        tokens_LB = np.full((self.num_layers, size), 10)
        return Record(labels, tokens_LB[0], guesses, tokens_LB, self.exit, kind=kind)

    def costs(self) -> ExitCosts:
        num_exits = len(self.exit.layers)
        depth_E = np.array([*self.exit.layers, self.num_layers])
        if self.head is None:
            return ExitCosts(np.outer(depth_E, self.layer_B))
        heads_E = self.head * np.array([*range(1, num_exits + 1), num_exits])
        head_EB = np.outer(np.full(num_exits, self.head), self.layer_B)
        return ExitCosts(np.outer(depth_E + heads_E, self.layer_B), head_EB)

    def depths(self, recorded: Record) -> list[np.ndarray]:
        rules = [at_point(self.exit, point.exit) for point in self.points]
        return [recorded.replay(rule).depth_B for rule in rules]


drawn = cache(Drawn)


@pytest.mark.parametrize("seed", SEEDS)
def test_cost_never_falls_as_the_budget_grows(seed: int):
    dial = Dial("share", drawn(seed).points, len(drawn(seed).recorded), {})
    budgets = np.linspace(dial.points[-1].cost, 1, 61)
    chosen = [dial.at(Budget(budget)) for budget in budgets]
    assert all(small.cost <= large.cost for small, large in pairwise(chosen))
    assert all(point.cost <= budget + 1e-9 for point, budget in zip(chosen, budgets, strict=True))
    assert chosen[0] == dial.points[-1]
    assert chosen[-1] == dial.points[0]


@pytest.mark.parametrize("seed", SEEDS)
def test_nobody_leaves_later_where_the_budget_is_smaller(seed: int):
    """Not among the examples of the fit, and not among others."""
    for examples in (drawn(seed).recorded, drawn(seed).others):
        depths = drawn(seed).depths(examples)
        assert (depths[0] == drawn(seed).num_layers).all()
        assert all((laxer <= stricter).all() for stricter, laxer in pairwise(depths))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_point_costs_what_its_examples_spend(seed: int):
    """Their layers, and the open heads that they passed."""
    case = drawn(seed)
    for point, depth_B in zip(case.points, case.depths(case.recorded), strict=True):
        open_E = np.array(point.exit) != case.exit.knob.strict
        passed_EB = np.array(case.exit.layers)[:, None] <= depth_B
        heads_B = (passed_EB & open_E[:, None]).sum(0) * (case.head or 0)
        assert point.cost == pytest.approx(((depth_B + heads_B) * case.layer_B).mean())
