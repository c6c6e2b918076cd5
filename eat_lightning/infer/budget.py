"""Fit the points of an exit rule's knob, one for each exit, for a budget of compute.

From the records of the calibration cut alone: which points let an example leave at each exit (the
rule itself is asked), how likely each exit's answer is right, and what leaving there costs. For a
price of compute, points are improved exit by exit, each to its exact best given the others; the
price is set by bisection so that the mean cost stays within the budget.

750 examples are few: a fit to hits alone is noisy. So the value of leaving is a mix of the hit and
of a smooth estimate of it (logistic in the exit's confidence), and points are drawn towards the
best shared one. How much of each, or a mix of two exits instead (heads at chance before a good
one), is chosen by cross-validation within the cut. Then exits are closed, the one that fewest take
first, as long as the examples left out lose next to nothing: each exit less is a threshold less to
fit on few examples, a head less to ask and a graph less in an export. Where that does not beat the
best shared point on the cut, the shared point is taken.

Shapes: G points of the knob, E exits, B examples, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from eat_lightning.infer.recorded import Recorded
from eat_lightning.model.contracts import turned
from eat_lightning.model.deciding import decide
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.flops import flops, static_flops
from eat_lightning.model.method import faults_of

SMOOTH = (0.0, 0.5, 1.0)  # share of the smooth estimate in the value of leaving
DRAWN = (0.0, 0.5, 1.0)  # how far each exit's point goes from the shared one to its own
FOLDS = 5
SWEEPS = 3  # over the exits, for one price
PRICES = 14  # bisections
SPARE = 0.002  # of the score on examples left out, for exits that need not be asked


@dataclass(frozen=True)
class Recordings:
    """What a fit stands on. leaves: at point g an example leaves at exit e, if it gets there (the
    last exit is not among them). right: its answer there is right, 0 or 1. smooth: an estimate of
    that from the confidence. cost: of leaving there, as shares of full compute (E + 1 with the last
    layer)."""

    leaves_GEB: Bool[np.ndarray, "g e b"]
    right_EB: Float[np.ndarray, "e b"]
    smooth_EB: Float[np.ndarray, "e b"]
    cost_EB: Float[np.ndarray, "e b"]

    def take(self, rows: np.ndarray) -> Recordings:
        return Recordings(*(of_B[..., rows] for of_B in vars(self).values()))

    def of_exits(self, exits: Int[np.ndarray, " e"]) -> Recordings:
        """The same where only these exits are asked, and the last layer."""
        rows = [*exits, len(self.right_EB) - 1]
        return Recordings(
            self.leaves_GEB[:, exits], self.right_EB[rows], self.smooth_EB[rows], self.cost_EB[rows]
        )

    def exits_at(self, points_E: Int[np.ndarray, " e"]) -> Int[np.ndarray, " b"]:
        """Where each example leaves under these points; E is the last layer."""
        num_exits = len(points_E)
        gone_EB = self.leaves_GEB[points_E, np.arange(num_exits)]
        return np.where(gone_EB.any(0), gone_EB.argmax(0), num_exits)

    def mean(self, of_EB: np.ndarray, points_E: Int[np.ndarray, " e"]) -> float:
        return float(of_EB[self.exits_at(points_E), np.arange(of_EB.shape[1])].mean())


Way = Callable[[Recordings, float], np.ndarray]  # to find points within a budget


@dataclass(frozen=True)
class Fit:
    """points: of the knob, one for each exit (one for all where the rule takes no more). cost,
    accuracy: on the examples of the fit. held_out: accuracy on folds that were left out, less what
    exceeded the budget there."""

    points: float | list[float]
    cost: float
    accuracy: float
    held_out: float


class BudgetTooSmall(ValueError):
    """Even leaving at the first exit costs more; `least` is what that costs."""

    def __init__(self, least: float):
        super().__init__(f"budget must be at least {least:.3f}, what the first exit costs")
        self.least = least


def fit_budget(
    exit: Any, recorded: Recorded, cost_EB: np.ndarray, budget: float, seed: int = 0
) -> Fit:
    """Fit the knob of `exit` so that the mean of cost_EB is at most `budget`, in whatever unit.

    recorded: every head's guess for the examples of the fit. cost_EB: of leaving at each of
    `exit.layers`, and of the last layer. Policies are not asked: they only make exits later.
    BudgetTooSmall where even leaving at once costs more.
    """
    if exit.knob is None:
        raise ValueError(f"{type(exit).__name__} has no knob to fit for a budget")
    if (least := float(cost_EB[0].mean())) > budget:
        raise BudgetTooSmall(least)
    full = float(cost_EB[-1].mean())
    fit = fit_share(exit, recorded, cost_EB / full, budget / full, seed)
    return replace(fit, cost=fit.cost * full)


def fit_share(exit: Any, recorded: Recorded, cost_EB: np.ndarray, budget: float, seed: int) -> Fit:
    """The same with costs as shares of what running every layer costs."""
    knob: Any = exit.knob
    points = [knob.strict, *knob.fine]
    found = recordings(exit, points, recorded, cost_EB)
    shared_E = best_shared(found, budget)
    shared = points[shared_E[0]]
    if faults_of(turned(exit, [shared] * len(exit.layers)), None):  # it stands alike at all exits
        return replayed(exit, shared, recorded, cost_EB)
    fold_B = np.random.default_rng(seed).permutation(found.right_EB.shape[1]) % FOLDS
    score, own_E = fewest_exits(found, budget, cross_validated(found, budget, fold_B), fold_B)
    vectors = [[points[g] for g in of_E] for of_E in (own_E, without_unused(found, shared_E))]
    tried = [replayed(exit, vector, recorded, cost_EB) for vector in vectors]
    within = [fit for fit in tried if fit.cost <= budget] or [min(tried, key=lambda f: f.cost)]
    return replace(max(within, key=lambda fit: fit.accuracy), held_out=score)


def replayed(
    exit: Any, points: float | list[float], recorded: Recorded, cost_EB: np.ndarray
) -> Fit:
    """What the rule itself does at these points: it may look at earlier exits' points too."""
    outcome = replace(recorded, policies=()).under(turned(exit, points))
    place_B = np.searchsorted([*exit.layers, len(recorded.tokens_LB)], outcome.depth_B)
    cost = cost_EB[place_B, np.arange(len(recorded))].mean()
    accuracy = float((outcome.logits_BC.argmax(-1) == recorded.labels).mean())
    return Fit(points, float(cost), accuracy, held_out=accuracy)


def flops_shares(encoder: AdaptiveEncoder, exit: Any, recorded: Recorded) -> np.ndarray:
    """What leaving at each exit, and running every layer, costs each example (E x B), as a share of
    the mean of the same body with everything off."""
    full = static_flops(encoder, recorded.lengths).mean()
    depths = [*exit.layers, encoder.shape.num_layers]
    size, tokens_LB, lengths_B = len(recorded), recorded.tokens_LB, recorded.lengths
    costs = [flops(encoder, exit, tokens_LB, np.full(size, depth), lengths_B) for depth in depths]
    return np.stack(costs) / full


def recordings(
    exit: Any, points: Sequence[float], recorded: Recorded, cost_EB: np.ndarray
) -> Recordings:
    """Ask the rule at every point, exit by exit, who would leave there, and with which answer."""
    layers = [*exit.layers, len(recorded.tokens_LB)]
    logits_EBC = torch.stack([torch.from_numpy(recorded.guesses[k]) for k in layers])
    signals = [torch.from_numpy(recorded.signals[k]) for k in layers if k in recorded.signals]
    signals_EBS = torch.stack(signals) if signals else None
    leaves_GEB = [
        [
            decide(rule, logits_EBC[:e], None if signals_EBS is None else signals_EBS[:e]) > 0
            for e in range(1, len(layers))
        ]
        for rule in (turned(exit, point) for point in points)
    ]
    answers_EBC = torch.stack([exit.answers(logits_EBC[:e]) for e in range(1, len(layers) + 1)])
    confidence_EB = answers_EBC.double().softmax(-1).amax(-1).numpy()
    right_EB = (answers_EBC.argmax(-1).numpy() == recorded.labels).astype(np.float64)
    smooth = [logistic(c_B, right_B) for c_B, right_B in zip(confidence_EB, right_EB, strict=True)]
    leaves = np.stack([torch.stack(row).numpy() for row in leaves_GEB])
    return Recordings(leaves, right_EB, np.stack(smooth), cost_EB)


def logistic(
    confidence_B: Float[np.ndarray, " b"], right_B: Float[np.ndarray, " b"], steps: int = 25
) -> Float[np.ndarray, " b"]:
    """P(right | confidence) by logistic regression on its log-odds, by Newton's method with a weak
    prior towards the confidence itself (slope 1, intercept 0)."""
    from scipy.special import expit, logit

    inside_B = confidence_B.clip(1e-6, 1 - 1e-6)
    x_B2 = np.stack([logit(inside_B), np.ones_like(inside_B)], 1)
    prior, weights = np.array([1.0, 0.0]), np.array([1.0, 0.0])
    for _ in range(steps):
        p_B = expit(x_B2 @ weights)
        gradient = x_B2.T @ (p_B - right_B) + (weights - prior)
        curvature = (x_B2 * (p_B * (1 - p_B))[:, None]).T @ x_B2 + np.eye(2)
        weights = weights - np.linalg.solve(curvature, gradient)
    return expit(x_B2 @ weights)


def best_shared(found: Recordings, budget: float) -> Int[np.ndarray, " e"]:
    """One point for all exits: of those within the budget the most accurate, then the cheapest."""
    num_points, num_exits = found.leaves_GEB.shape[:2]
    every = [np.full(num_exits, g) for g in range(num_points)]
    within = [p for p in every if found.mean(found.cost_EB, p) <= budget]
    if not within:  # the lax end of the grid keeps some: everybody leaves where the grid lets them
        return every[-1]
    return max(within, key=lambda p: (found.mean(found.right_EB, p), -found.mean(found.cost_EB, p)))


def best_points(
    found: Recordings, budget: float, smooth: float, drawn: float
) -> Int[np.ndarray, " e"]:
    """A point for each exit, at the lowest price of compute that keeps the budget."""
    shared_E = best_shared(found, budget)
    value_EB = smooth * found.smooth_EB + (1 - smooth) * found.right_EB
    best_E, low, high = shared_E, 0.0, 4.0
    for _ in range(PRICES):
        price = (low + high) / 2
        own_E = at_price(found, value_EB - price * found.cost_EB, shared_E)
        points_E = np.rint(shared_E + drawn * (own_E - shared_E)).astype(int)
        if found.mean(found.cost_EB, points_E) <= budget:
            best_E, high = points_E, price
        else:
            low = price
    return best_E


def without_unused(found: Recordings, points_E: Int[np.ndarray, " e"]) -> Int[np.ndarray, " e"]:
    """The points with exits that none of the examples took at the strict end: nothing is known of
    who would, and an encoder need not ask there."""
    took_E = np.bincount(found.exits_at(points_E), minlength=len(points_E) + 1)[:-1]
    return np.where(took_E > 0, points_E, 0)


def best_pair(found: Recordings, budget: float) -> Int[np.ndarray, " e"]:
    """Who is sure enough at one exit leaves there, all others at a later one (or the end). Prices
    find no such mix where one of the two is the better for nearly everybody at any price, as of a
    head at chance and one that is nearly as good as the last."""
    num_points, num_exits = found.leaves_GEB.shape[:2]
    best, best_E = -np.inf, np.zeros(num_exits, int)
    for first in range(num_exits):
        leaves_GB = found.leaves_GEB[:, first]
        within_GL = mixes(found.cost_EB[first:], leaves_GB) <= budget
        right_GL = np.where(within_GL, mixes(found.right_EB[first:], leaves_GB), -np.inf)
        point, later = np.unravel_index(right_GL.argmax(), right_GL.shape)
        if right_GL[point, later] > best:
            best, best_E = right_GL[point, later], np.zeros(num_exits, int)
            best_E[first] = point
            second = first + 1 + later
            best_E[second : second + 1] = num_points - 1  # its lax end; the last layer has none
    return best_E


def mixes(
    of_EB: Float[np.ndarray, "e b"], leaves_GB: Bool[np.ndarray, "g b"]
) -> Float[np.ndarray, "g l"]:
    """Means where who leaves at a point takes the first exit's value, the others a later one's."""
    first_B, later_LB = of_EB[0], of_EB[1:]
    return (leaves_GB @ (first_B - later_LB).T + later_LB.sum(1)) / len(first_B)


def at_price(
    found: Recordings, worth_EB: Float[np.ndarray, "e b"], start_E: Int[np.ndarray, " e"]
) -> Int[np.ndarray, " e"]:
    """Improve one exit's point at a time, from the last exit to the first: among those who get
    there, leaving is worth worth_EB[e], staying what the later exits make of it."""
    points_E, num_exits = start_E.copy(), len(start_E)
    columns = np.arange(worth_EB.shape[1])
    for _ in range(SWEEPS):
        before_E = points_E.copy()
        for e in reversed(range(num_exits)):
            later_E = points_E.copy()
            later_E[: e + 1] = 0  # the strict end: nobody leaves up to here
            stays_B = worth_EB[found.exits_at(later_E), columns]
            here_B = found.exits_at(points_E) >= e
            gain_B = np.where(here_B, worth_EB[e] - stays_B, 0.0)
            points_E[e] = int((found.leaves_GEB[:, e] @ gain_B).argmax())
        if (points_E == before_E).all():
            break
    return points_E


def cross_validated(found: Recordings, budget: float, fold_B: Int[np.ndarray, " b"]) -> Way:
    """The way to find points that scores best on examples left out."""
    ways: list[Way] = [
        partial(best_points, smooth=smooth, drawn=drawn) for smooth, drawn in product(SMOOTH, DRAWN)
    ]
    return max((*ways, best_pair), key=lambda way: held_out(found, budget, way, fold_B))


def fewest_exits(
    found: Recordings, budget: float, way: Way, fold_B: Int[np.ndarray, " b"]
) -> tuple[float, Int[np.ndarray, " e"]]:
    """The points of as few open exits as score within SPARE of the best number of them, and their
    score. Each time the exit that fewest take is closed, and the others are fitted again."""
    num_exits = found.leaves_GEB.shape[1]
    exits, tried = np.arange(num_exits), []
    while len(exits):
        part, points_E = found.of_exits(exits), np.zeros(num_exits, int)
        points_E[exits] = without_unused(part, way(part, budget))
        tried.append((held_out(part, budget, way, fold_B), points_E))
        took_E = np.bincount(found.exits_at(points_E), minlength=num_exits + 1)[:-1]
        exits = np.flatnonzero(points_E)
        exits = np.delete(exits, took_E[exits].argmin()) if len(exits) else exits
    enough = max(score for score, _ in tried) - SPARE
    return [one for one in tried if one[0] >= enough][-1]


def held_out(found: Recordings, budget: float, way: Way, fold_B: Int[np.ndarray, " b"]) -> float:
    """The score of a way to find points, on each fold with points found on the others: hits, less
    what exceeds the budget."""
    kept = []
    for fold in range(FOLDS):
        points_E, left = way(found.take(fold_B != fold), budget), found.take(fold_B == fold)
        over = max(0.0, left.mean(left.cost_EB, points_E) - budget)
        kept.append(left.mean(left.right_EB, points_E) - over)
    return float(np.mean(kept))
