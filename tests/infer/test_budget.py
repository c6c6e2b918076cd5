"""Budgets: points for each exit, against a search over all of them and against the shared one."""

from functools import cache
from itertools import pairwise, product

import numpy as np
import pytest
import torch
from models import kinds, method, ragged, tiny

from eat_lightning.infer import budget
from eat_lightning.infer.budget import (
    Fit,
    Recordings,
    at_price,
    best_points,
    best_shared,
    fewest_exits,
    fit_budget,
    flops_shares,
    logistic,
    recordings,
    without_unused,
)
from eat_lightning.infer.record import record
from eat_lightning.infer.recorded import Recorded
from eat_lightning.methods.exit.confidence import Confidence
from eat_lightning.methods.exit.never import Never
from eat_lightning.model.contracts import turned
from eat_lightning.validation import Within


def made(seed: int = 0, num_examples: int = 60, num_exits: int = 2, num_points: int = 6):
    generator = np.random.default_rng(seed)
    score_EB = generator.random((num_exits, num_examples))
    points = np.linspace(1.01, 0, num_points)  # the strict end lets nobody leave
    leaves_GEB = score_EB[None] >= points[:, None, None]
    right_EB = (generator.random((num_exits + 1, num_examples)) < 0.8).astype(float)
    right_EB[:-1] = (generator.random(score_EB.shape) < score_EB).astype(float)
    cost_EB = np.repeat([[0.3], [0.6], [1.0]], num_examples, axis=1)
    return Recordings(leaves_GEB, right_EB, right_EB, cost_EB)


def test_who_leaves_where():
    leaves_GEB = np.array([[[0, 0], [0, 0]], [[1, 0], [1, 1]]], bool)
    found = Recordings(leaves_GEB, np.eye(3, 2), np.eye(3, 2), np.ones((3, 2)))
    assert found.exits_at(np.array([0, 0])).tolist() == [2, 2]
    assert found.exits_at(np.array([1, 1])).tolist() == [0, 1]
    assert found.mean(found.right_EB, np.array([1, 1])) == 1.0


def test_an_exit_that_none_of_the_examples_took_is_closed():
    """Both leave at the first exit, or one of them at each."""
    leaves_GEB = np.array([[[0, 0], [0, 0]], [[1, 1], [1, 1]], [[1, 0], [1, 1]]], bool)
    found = Recordings(leaves_GEB, np.eye(3, 2), np.eye(3, 2), np.ones((3, 2)))
    assert without_unused(found, np.array([1, 1])).tolist() == [1, 0]
    assert without_unused(found, np.array([2, 1])).tolist() == [2, 1]


@pytest.mark.parametrize(("second", "opened"), [(1, [1, 0]), (250, [1, 1])])
def test_an_exit_is_asked_only_where_it_is_missed(second: int, opened: list[int]):
    """500 of 1,000 leave at the first exit, some at the second, and every answer is right. Without
    the second the mean cost is 0.65: within 0.66, and 0.05 more than 0.6."""
    leaves_EB = np.array([np.arange(1000) < 500, np.arange(1000) >= 1000 - second])
    leaves_GEB = np.stack([np.zeros_like(leaves_EB), leaves_EB])
    cost_EB = np.repeat([[0.3], [0.6], [1.0]], 1000, axis=1)
    found = Recordings(leaves_GEB, np.ones((3, 1000)), np.ones((3, 1000)), cost_EB)
    budget, fold_B = 0.66 if second == 1 else 0.6, np.arange(1000) % 5
    score, points_E = fewest_exits(
        found, budget, lambda part, _: np.ones(part.leaves_GEB.shape[1], int), fold_B
    )
    assert points_E.tolist() == opened
    assert score == pytest.approx(1.0)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("price", [0.0, 0.3, 0.8])
def test_no_single_exit_can_be_improved_any_more(seed: int, price: float):
    found = made(seed)
    worth_EB = found.right_EB - price * found.cost_EB
    points_E = at_price(found, worth_EB, np.zeros(2, int))
    best = found.mean(worth_EB, points_E)
    for e, g in product(range(2), range(6)):
        other_E = points_E.copy()
        other_E[e] = g
        assert found.mean(worth_EB, other_E) <= best + 1e-12


@pytest.mark.parametrize("seed", range(5))
def test_near_the_best_of_all_within_the_budget(seed: int):
    found, budget = made(seed), 0.6
    points_E = best_points(found, budget, smooth=0.0, drawn=1.0)
    assert found.mean(found.cost_EB, points_E) <= budget
    every = [np.array(p) for p in product(range(6), repeat=2)]
    within = [p for p in every if found.mean(found.cost_EB, p) <= budget]
    best = max(found.mean(found.right_EB, p) for p in within)
    # Prices reach the upper hull of the points alone: a little may be missed between two of them.
    assert found.mean(found.right_EB, points_E) >= best - 0.06


def test_logistic_is_calibrated_where_confidence_is_not():
    generator = np.random.default_rng(0)
    true_B = generator.uniform(0.5, 0.95, 20_000)
    odds_B = np.log(true_B / (1 - true_B))
    right_B = (generator.random(20_000) < true_B).astype(float)
    boasts_B = 1 / (1 + np.exp(-2 * odds_B))
    assert np.abs(logistic(boasts_B, right_B) - true_B).max() < 0.02


def answered(layers: tuple[int, ...] = (1, 2)) -> tuple[Confidence, Recorded, np.ndarray]:
    """Exit 1 is sure and often wrong, exit 2 is what it says: one tau cannot tell them apart."""
    generator = np.random.default_rng(1)
    labels = generator.integers(0, 2, 900)
    guesses = {}
    for layer, accuracy in ((1, 0.6), (2, 0.85), (3, 0.95)):
        right = generator.random(900) < accuracy
        size = generator.uniform(1.0, 4.0, 900)
        sign = np.where(right, 1, -1) * np.where(labels == 1, 1, -1) * size
        guesses[layer] = np.stack([-sign / 2, sign / 2], 1).astype(np.float32)
    rule, tokens_LB = Confidence(0.9, layers), np.full((3, 900), 10)
    recorded = Recorded(labels, tokens_LB[0], guesses, tokens_LB, rule)
    return rule, recorded, np.repeat([[1 / 3], [2 / 3], [1.0]], 900, axis=1)


@cache
def fitted(budget: float) -> Fit:
    return fit_budget(*answered(), budget)


@pytest.mark.parametrize("budget", [0.5, 0.7])
def test_each_exit_gets_its_own_point_and_never_does_worse_than_a_shared_one(budget: float):
    fit = fitted(budget)
    assert fit.cost <= budget
    rule, recorded, cost_EB = answered()
    found = recordings(rule, [1.0, *rule.knob.fine], recorded, cost_EB)
    shared_E = best_shared(found, budget)
    assert fit.accuracy >= found.mean(found.right_EB, shared_E)


def test_a_head_at_chance_is_mixed_with_a_good_one():
    """Exits 1 and 2 guess (their confidence says nothing), the last is right: at half of the cost
    three in five leave at exit 1, and the others run to the end. Everybody at exit 2 is no better
    than guessing."""
    generator = np.random.default_rng(3)
    labels, size = generator.integers(0, 2, 1000), generator.uniform(0.2, 2.0, (2, 1000))
    sign_EB = np.where(generator.random((2, 1000)) < 0.5, 1, -1) * size
    guesses = {
        k: np.stack([-s, s], 1).astype(np.float32) for k, s in zip((1, 2), sign_EB, strict=True)
    }
    guesses[3] = np.stack([1 - labels, labels], 1).astype(np.float32) * 9
    tokens_LB, rule = np.full((3, 1000), 10), Confidence(0.9, [1, 2])
    recorded = Recorded(labels, tokens_LB[0], guesses, tokens_LB, rule)
    cost_EB = np.repeat([[0.2], [0.5], [1.0]], 1000, axis=1)
    fit = fit_budget(rule, recorded, cost_EB, 0.5)
    assert fit.cost <= 0.5
    assert fit.accuracy > 0.68  # 5 / 8 x 0.5 + 3 / 8 = 0.69; prices alone come to 0.65


def test_cost_and_accuracy_are_those_of_running_the_rule():
    rule, recorded, _ = answered()
    fit = fitted(0.7)
    outcome = recorded.under(turned(rule, fit.points))
    assert fit.cost == pytest.approx(outcome.depth_B.mean() / 3)
    assert fit.accuracy == pytest.approx((outcome.logits_BC.argmax(1) == recorded.labels).mean())


def test_the_unit_of_cost_does_not_matter():
    rule, recorded, cost_EB = answered()
    in_ms = fit_budget(rule, recorded, 24 * cost_EB, 24 * 0.7)
    assert in_ms.points == fitted(0.7).points
    assert in_ms.cost == pytest.approx(24 * fitted(0.7).cost)


def test_the_exit_that_boasts_is_asked_for_more():
    fit = fitted(0.7)
    assert fit.points[0] > fit.points[1]


def test_an_answer_from_all_exits_is_what_is_right_or_wrong():
    class Mean(Confidence):
        """Answers with the mean of the guesses so far."""

        def answers(self, logits_EBC):
            return logits_EBC.mean(0)

    _, recorded, cost_EB = answered()
    found = recordings(Mean(0.9, (1, 2)), [1.0], recorded, cost_EB)
    mean_BC = (recorded.guesses[1] + recorded.guesses[2]) / 2
    assert found.right_EB[1].tolist() == (mean_BC.argmax(1) == recorded.labels).tolist()


def test_a_rule_with_one_point_for_all_exits_gets_one():
    class Shared(Confidence):
        """Takes no list."""

        @classmethod
        def faults(cls, num_layers, tau=0.9, layers=(4,)):
            return ["one for all"] if isinstance(tau, list) else []

    _, recorded, cost_EB = answered()
    fit = fit_budget(Shared(0.9, [1, 2]), recorded, cost_EB, 0.7)
    assert isinstance(fit.points, float)
    assert fit.cost <= 0.7


def test_a_share_is_of_the_mean_of_full_compute():
    encoder = tiny(exit="fixed")  # at layer 4 of 6, no reduction
    lengths = np.array([4, 12])
    recorded = Recorded(lengths, lengths, {}, np.repeat(lengths[None], 6, axis=0), encoder.exit)
    shares_EB = flops_shares(encoder, encoder.exit, recorded)
    assert shares_EB[1].mean() == pytest.approx(1, abs=0.01)  # one head more than static
    assert shares_EB[0] == pytest.approx(shares_EB[1] * 4 / 6, rel=0.01)
    assert shares_EB[1, 1] > 3 * shares_EB[1, 0]


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match=r"budget must be at least 0.333, what the first exit"):
        fitted(0.2)
    _, recorded, cost_EB = answered()
    with pytest.raises(ValueError, match="Never has no knob to fit"):
        fit_budget(Never(), recorded, cost_EB, 0.5)


KNOBS = [kind for kind in kinds("exit") if method("exit", kind).knob is not None]


class Split:
    """Examples of all lengths, of three classes."""

    whole = ragged(tuple(range(1, 38)))
    lengths, labels = whole.lengths_B.numpy(), np.arange(37) % 3

    def __len__(self) -> int:
        return 37

    def batch(self, rows: np.ndarray):
        return self.whole.take(torch.as_tensor(rows))


@pytest.mark.parametrize("kind", KNOBS)
def test_every_rule_with_a_knob_is_fitted_and_replays_as_the_fit_says(
    kind: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(budget, "SMOOTH", (0.5,))  # nothing to choose, which is most of the time
    monkeypatch.setattr(budget, "DRAWN", (1.0,))
    encoder = tiny("dense", "none", kind)
    recorded = record(encoder, Split())
    layers = [*encoder.exit.layers, 6]
    cost_EB = np.repeat(np.array(layers)[:, None] / 6, 37, axis=1)
    fit = fit_budget(encoder.exit, recorded, cost_EB, 0.8)
    outcome = recorded.under(turned(encoder.exit, fit.points))
    assert outcome.depth_B.mean() / 6 == pytest.approx(fit.cost)
    assert (outcome.logits_BC.argmax(1) == recorded.labels).mean() == pytest.approx(fit.accuracy)
    assert fit.cost <= 0.8
    assert Within(encoder.exit.knob.bounds, each=True).lines(kind, fit.points) == []


@pytest.mark.parametrize("kind", KNOBS)
def test_a_knob_goes_from_nobody_leaves_to_more_and_more(kind: str):
    encoder = tiny("dense", "none", kind)
    recorded = record(encoder, Split())
    knob = encoder.exit.knob
    depths = [
        recorded.under(turned(encoder.exit, point)).depth_B for point in (knob.strict, *knob.fine)
    ]
    assert (depths[0] == 6).all()
    assert all((lax <= strict).all() for strict, lax in pairwise(depths))
    assert depths[-1].mean() < 5
    distance = [abs(point - knob.strict) for point in (knob.strict, *knob.fine)]
    assert distance == sorted(distance)
    assert {*knob.grid} <= {*knob.fine}
