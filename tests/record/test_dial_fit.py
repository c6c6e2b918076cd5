"""The dial: its costs those of the rule, known cases, and what holds on any records."""

from dataclasses import replace
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from helpers.models import kinds, method, ragged, tiny
from scipy.special import expit

from eat_lightning.methods.exit.confidence import Confidence
from eat_lightning.model.contracts import ExitRule, Knob, at_point, overrides
from eat_lightning.model.flops import flops, static_flops
from eat_lightning.model.specification import build
from eat_lightning.new.toy import kind_for
from eat_lightning.record.dial import Budget, Dial
from eat_lightning.record.dial_fit import (
    ExitCosts,
    at_distance,
    can_close,
    fine_distances,
    fit_dial,
    flops_shares,
    logistic,
)
from eat_lightning.record.measured import Measured
from eat_lightning.record.passes import record
from eat_lightning.record.record import Record
from eat_lightning.validation import Share


def recorded_of(guesses: dict[int, np.ndarray], labels: np.ndarray, rule: Confidence) -> Record:
    size, num_layers = len(labels), max(guesses)
    tokens_LB = np.full((num_layers, size), 10)
    floats = {layer: logits_BC.astype(np.float32) for layer, logits_BC in guesses.items()}
    return Record(labels, tokens_LB[0], floats, tokens_LB, rule)


def drawn(seed: int, num_classes: int = 3, size: int = 80) -> Record:
    """Heads that know nothing, something and much, each with a scale of its own."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, num_classes, size)
    guesses = {}
    for layer in range(1, 5):
        noise = generator.normal(size=(size, num_classes))
        known = generator.uniform(0, 3) * np.eye(num_classes)[labels]
        guesses[layer] = generator.uniform(0.3, 6) * (noise + known)
    return recorded_of(guesses, labels, Confidence(0.9, [1, 2, 3]))


def costs(
    recorded: Record, layers: tuple[int, ...] = (1, 2, 3, 4), head: float | None = None
) -> ExitCosts:
    """Depth in shares; or with heads, each of which costs so many layers."""
    depth_EB = np.repeat(np.array(layers)[:, None] / layers[-1], len(recorded), axis=1)
    if head is None:
        return ExitCosts(depth_EB)
    head_EB = np.full((len(layers) - 1, len(recorded)), head / layers[-1])
    guesses_EB = np.concatenate([head_EB, np.zeros_like(head_EB[:1])]).cumsum(0)
    return ExitCosts(depth_EB + guesses_EB, head_EB)


def taus(found: Measured) -> list[float]:
    return found.point.methods["exit"].arguments["tau"]


def dial_of(recorded: Record, head: float | None = None) -> Dial:
    layers = (*recorded.exit.layers, len(recorded.tokens_LB))
    points = fit_dial(recorded.exit, recorded, costs(recorded, layers, head), 1.0)
    return Dial("share", points, len(recorded), {})


@pytest.mark.parametrize("seed", range(1))
def test_what_is_spent_is_near_what_is_wanted(seed: int):
    """One of 600 examples is worth 0.0017 of the cost at most, a step 0.005."""
    recorded = drawn(seed, size=600)
    dial = dial_of(recorded)
    assert dial.points[-1].cost == pytest.approx(0.25, abs=0.02)
    for budget in np.linspace(0.3, 0.95, 14):
        assert dial.at(Budget(budget)).cost > budget - 0.03


def rarely_sure(size: int = 400) -> Record:
    """All are sure at exit 2, one of 40 is at exit 1 as well, and layer 3 says what they say."""
    labels = np.arange(size) % 2
    sure_B2 = np.stack([1 - labels, labels], 1) * 4.0
    first_B2 = np.where(np.arange(size)[:, None] % 40 == 0, sure_B2, sure_B2 / 16)
    return recorded_of({1: first_B2, 2: sure_B2, 3: sure_B2}, labels, Confidence(0.9, [1, 2]))


@pytest.mark.parametrize(
    ("head", "first", "cost"),
    [
        (None, True, (39 * 2 + 1) / 120),
        (0.005, True, (39 * 2.01 + 1.005) / 120),  # it saves a layer and a head of one in 40
        (0.1, False, 2.1 / 3),  # and costs all of them 0.1
    ],
)
def test_an_exit_is_closed_where_its_head_costs_more_than_leaving_there_saves(
    head: float | None, first: bool, cost: float
):
    points = dial_of(rarely_sure(), head).points
    *_, found, laxest = points
    assert tuple(tau < 1.0 for tau in taus(found)) == (first, True)
    assert found.cost == pytest.approx(cost)
    assert laxest.cost == pytest.approx((1 + (head or 0.0)) / 3)  # all leave at exit 1


def test_costs_with_closed_exits_are_those_of_what_runs():
    """As the counter has them for an encoder at that point."""
    encoder = tiny("dense", "none", "confidence")
    recorded = record(encoder, Split())
    recorded.labels = np.zeros(37, int)
    costs = flops_shares(encoder, encoder.exit, recorded)
    full = static_flops(encoder, recorded.lengths).mean()
    rule = at_point(encoder.exit, [1.0, 0.9])
    for place, depth in enumerate((3, 4, 6)):
        found_B = costs.at(np.full(37, place), np.array([False, True]))
        counted_B = flops(encoder, rule, recorded.tokens_LB, np.full(37, depth), recorded.lengths)
        np.testing.assert_allclose(found_B, counted_B / full)


def test_a_distance_of_0_is_the_strict_end_whatever_its_digits():
    knob = Knob("tau", strict=1 - 1 / 3000, grid=(0.5,), fine=(0.5,), bounds=Share)
    assert at_distance(knob, 0.0) == knob.strict
    assert at_distance(knob, 0.25) == 0.749666667


def test_exits_that_later_ones_or_policies_look_at_are_never_closed():
    plain, looking_back = tiny("dense", "none", "confidence"), tiny("dense", "none", "patience")
    guarded = plain.replacing(policies=[method("policy", "full_depth")])
    found = [can_close(each, each.exit) for each in (plain, looking_back, guarded)]
    assert found == [True, False, False]


def boasting(size: int = 4000) -> Record:
    """Exit 1 says much more than it knows, exit 2 is what it says, layer 3 is right."""
    generator = np.random.default_rng(1)
    labels = generator.integers(0, 2, size)
    odds = generator.uniform(0, 4, (2, size))
    true = odds * np.array([[0.25], [1.0]])
    agrees = generator.random((2, size)) < expit(true)
    lead = np.where(agrees, 1, -1) * odds * np.where(labels == 1, 1, -1)
    guesses = {k + 1: np.stack([-lead[k] / 2, lead[k] / 2], 1) for k in (0, 1)}
    guesses[3] = np.stack([1 - labels, labels], 1) * 9.0
    return recorded_of(guesses, labels, Confidence(0.9, [1, 2]))


def test_an_exit_that_boasts_is_asked_for_as_much_more():
    """Where both may leave, the chance to stay at exit 1 (odds / 4) is that at exit 2 (odds)."""
    dial = dial_of(boasting())
    for wanted in (0.6, 0.7, 0.8):
        first, second = taus(dial.at(Budget(wanted)))
        assert np.log(first / (1 - first)) > 2 * np.log(second / (1 - second))


def test_no_label_is_looked_at():
    recorded = drawn(5)
    points = dial_of(recorded).points
    recorded.labels = 1 - recorded.labels
    assert [*map(taus, dial_of(recorded).points)] == [*map(taus, points)]


def test_logistic_finds_the_line_that_made_the_data():
    generator = np.random.default_rng(0)
    score_B = generator.normal(size=40_000)
    stays_B = (generator.random(40_000) < expit(1.7 * score_B + 0.6)).astype(float)
    assert logistic(score_B, stays_B) == pytest.approx([1.7, 0.6], abs=0.06)
    assert logistic(np.empty(0), np.empty(0)).tolist() == [1.0, 0.0]


@pytest.mark.parametrize("seed", range(6))
def test_logistic_is_at_its_minimum_wherever_scores_lie(seed: int):
    """Plain Newton steps diverge on heads near chance, whose scores are wide and say little."""
    generator = np.random.default_rng(seed)
    score_B = generator.normal(generator.uniform(-8, 8), generator.uniform(0.1, 6), size=500)
    stays_B = (generator.random(500) < generator.uniform(0.02, 0.98)).astype(float)
    line = logistic(score_B, stays_B)
    missed_B = expit(score_B * line[0] + line[1]) - stays_B
    gradient = [missed_B @ score_B, missed_B.sum()] + (line - [1.0, 0.0])
    assert gradient == pytest.approx([0.0, 0.0], abs=1e-4)


def test_an_answer_from_all_exits_is_what_agrees_or_not():
    class Mean(Confidence):
        """Answers with the mean of the guesses so far."""

        def answers(self, logits_EBC):
            return logits_EBC.mean(0)

    recorded = replace(drawn(8), exit=Mean(0.9, [1, 2, 3]))
    (*_, laxest) = fit_dial(recorded.exit, recorded, costs(recorded), 1.0)
    outcome = recorded.replay(laxest.point)
    original_B = recorded.guesses[4].argmax(1)
    assert laxest.agreement == pytest.approx((outcome.logits_BC.argmax(1) == original_B).mean())


def test_a_share_is_of_the_mean_of_full_compute():
    encoder = tiny(exit="fixed")  # at layer 4 of 6, no reduction
    lengths = np.array([4, 12])
    recorded = Record(lengths, lengths, {}, np.repeat(lengths[None], 6, axis=0), encoder.exit)
    shares_EB = flops_shares(encoder, encoder.exit, recorded).cost_EB
    assert shares_EB[1].mean() == pytest.approx(1, abs=0.01)  # one head more than static
    assert shares_EB[0] == pytest.approx(shares_EB[1] * 4 / 6, rel=0.01)
    assert shares_EB[1, 1] > 3 * shares_EB[1, 0]


KNOBS = [kind for kind in kinds("exit") if method("exit", kind).knob is not None]


class Split:
    """Examples of all lengths, of three classes."""

    source = origins = difficulty = None
    whole = ragged(tuple(range(1, 38)))
    lengths, labels = whole.lengths_B.numpy(), np.arange(37) % 3

    def __len__(self) -> int:
        return 37

    def batch(self, rows: np.ndarray):
        return self.whole.take(torch.as_tensor(rows))


@pytest.mark.parametrize("kind", KNOBS)
def test_every_rule_with_a_knob_has_a_dial_that_is_nested(kind: str):
    encoder = tiny("dense", "none", kind)
    recorded = record(encoder, Split())
    recorded.labels = np.zeros((37, *encoder.kind.label_shape))
    knob, layers = encoder.exit.knob, (*encoder.exit.layers, 6)
    points = fit_dial(encoder.exit, recorded, costs(recorded, layers), 1.0)
    assert len(points) > 2
    for each in points:
        assert knob.faults(kind, each.point.methods["exit"].arguments[knob.name]) == []
    outcomes = [recorded.replay(each.point) for each in points]
    depths = [outcome.depth_B for outcome in outcomes]
    assert (depths[0] == 6).all()
    assert all((laxer <= stricter).all() for stricter, laxer in pairwise(depths))
    same_B = encoder.kind.same(outcomes[-1].logits_BC, recorded.guesses[6])
    assert points[-1].agreement == pytest.approx(same_B.mean())


@pytest.mark.parametrize("kind", KNOBS)
def test_a_knob_goes_from_nobody_leaves_to_more_and_more(kind: str):
    encoder = tiny("dense", "none", kind)
    recorded = record(encoder, Split())
    knob = encoder.exit.knob
    depths = [
        recorded.replay(at_point(encoder.exit, point)).depth_B
        for point in (knob.strict, *knob.fine)
    ]
    assert (depths[0] == 6).all()
    assert all((lax <= strict).all() for strict, lax in pairwise(depths))
    assert depths[-1].mean() < 5
    distance = [abs(point - knob.strict) for point in (knob.strict, *knob.fine)]
    assert distance == sorted(distance)
    assert {*knob.grid} <= {*knob.fine}
    assert {round(d, 9) for d in distance[1:]} <= {round(d, 9) for d in fine_distances(knob)}


def test_fine_points_may_begin_with_the_strict_end():
    with_strict, without = (
        fine_distances(Knob("lead", 1.0, (0.9,), fine, "(0, 1]"))
        for fine in ((1.0, 0.9, 0.5), (0.9, 0.5))
    )
    assert with_strict == without
    assert min(without) > 0


def test_a_strict_end_is_finite():
    with pytest.raises(ValueError, match="knob lead: strict must be finite, got inf"):
        Knob("lead", float("inf"), (3.0,), (3.0,), "(0, inf)")


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
        return [recorded.replay(each.point).depth_B for each in self.points]


case_of = cache(Drawn)


@pytest.mark.parametrize("seed", SEEDS)
def test_cost_never_falls_as_the_budget_grows(seed: int):
    dial = Dial("share", case_of(seed).points, len(case_of(seed).recorded), {})
    budgets = np.linspace(dial.points[-1].cost, 1, 61)
    chosen = [dial.at(Budget(budget)) for budget in budgets]
    assert all(small.cost <= large.cost for small, large in pairwise(chosen))
    assert all(point.cost <= budget + 1e-9 for point, budget in zip(chosen, budgets, strict=True))
    assert chosen[0] == dial.points[-1]
    assert chosen[-1] == dial.points[0]


@pytest.mark.parametrize("seed", SEEDS)
def test_nobody_leaves_later_where_the_budget_is_smaller(seed: int):
    """Not among the examples of the fit, and not among others."""
    for examples in (case_of(seed).recorded, case_of(seed).others):
        depths = case_of(seed).depths(examples)
        assert (depths[0] == case_of(seed).num_layers).all()
        assert all((laxer <= stricter).all() for stricter, laxer in pairwise(depths))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_point_costs_what_its_examples_spend(seed: int):
    """Their layers, and the open heads that they passed."""
    case = case_of(seed)
    for point, depth_B in zip(case.points, case.depths(case.recorded), strict=True):
        knob = case.exit.knob
        open_E = np.array(point.point.methods["exit"].arguments[knob.name]) != knob.strict
        passed_EB = np.array(case.exit.layers)[:, None] <= depth_B
        heads_B = (passed_EB & open_E[:, None]).sum(0) * (case.head or 0)
        assert point.cost == pytest.approx(((depth_B + heads_B) * case.layer_B).mean())
