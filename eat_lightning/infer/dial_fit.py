"""Fit the dial of an exit rule: operating points of its knob from full depth to the laxest.

One number orders the points: the least chance, alike at every exit, that an answer stays what full
depth says. At each exit this chance is a logistic curve of how close to its strict end the knob
could stand for the example to leave. The curves are fitted on the records of the calibration cut
and need no labels. A smaller least chance makes every exit laxer on any data: nobody leaves later
at a point further along. `experiments/budgets/dial.md` compares it with other fits.

Shapes: B examples, E exits (the last layer is one more row of costs), G points of the knob.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from scipy.optimize import minimize
from scipy.special import expit

from eat_lightning.infer.recorded import Recorded
from eat_lightning.model.contracts import ExitRule, Knob, at_point
from eat_lightning.model.contracts.exit import decide
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.flops import flops, static_flops
from eat_lightning.model.method import faults_of
from eat_lightning.weights.dial import ROUNDING, DialPoint

STEP = 0.005  # of full cost, between neighbouring points
LEVELS = 1000  # least chances that are tried
NEAR = 12  # halvings of the knob's first distance from its strict end
FINER = 4  # distances for each of the knob's
FAR = 1.01  # times the distance of the knob's laxest point
LEAST_SLOPE = 0.05  # a head at chance would let all leave at once


def fit_dial(
    exit: ExitRule,
    recorded: Recorded,
    cost_EB: Float[np.ndarray, "e b"],
    full_cost: float,
    original_BC: np.ndarray | None = None,
) -> list[DialPoint]:
    """Fit the points of the dial, each cheaper than the one before; the first is full depth.

    Policies take no part: they only make exits later.

    Args:
        exit: a rule with a knob.
        recorded: the guesses of every head for the examples of the fit.
        cost_EB: of leaving at each of `exit.layers`, and of the last layer, in any unit.
        full_cost: mean cost of the last layer where no exit is evaluated.
        original_BC: logits of the answers to stay with; None are those of the last layer.
    """
    knob: Any = exit.knob
    if original_BC is None:
        original_BC = full_depth_logits(recorded)
    distance_EB = leaving_distances(exit, recorded)
    agrees_EB = recorded.kind.same(logits_at_exits(exit, recorded), original_BC)
    is_shared = bool(faults_of(at_point(exit, [knob.strict] * len(exit.layers)), None))
    laxest = abs(knob.fine[-1] - knob.strict)
    curves = Curves.fit(distance_EB, None if is_shared else agrees_EB, laxest)
    replay = Replay(exit, recorded, cost_EB, original_BC)
    full = replay.at(knob.strict if is_shared else [knob.strict] * len(exit.layers))
    points = [replace(full, cost=full_cost)]
    for level in spaced(curves.levels(distance_EB), cost_EB):
        values = [at_distance(knob, distance) for distance in curves.distances(level)]
        point = replay.at(values[0] if is_shared else values)
        if point.cost < points[-1].cost:
            points.append(point)
    return points


def full_depth_logits(recorded: Recorded) -> np.ndarray:
    """Return the logits of the last layer's head (B x C)."""
    return recorded.guesses[len(recorded.tokens_LB)]


def leaving_distances(exit: ExitRule, recorded: Recorded) -> Float[np.ndarray, "e b"]:
    """Tell how far from its strict end the knob must stand for an example to leave at each exit, if
    it gets there; infinite where it leaves at no point of the knob."""
    knob: Any = exit.knob
    logits_EBC = torch.stack([torch.from_numpy(recorded.guesses[k]) for k in exit.layers])
    signals = [torch.from_numpy(recorded.signals[k]) for k in exit.layers if k in recorded.signals]
    signals_EBS = torch.stack(signals) if signals else None
    distance_EB = np.full(logits_EBC.shape[:2], np.inf)
    for distance in reversed(fine_distances(knob)):
        rule = at_point(exit, at_distance(knob, distance))
        for e in range(len(exit.layers)):
            signals_here = None if signals_EBS is None else signals_EBS[: e + 1]
            leaves_B = decide(rule, logits_EBC[: e + 1], signals_here).numpy() > 0
            distance_EB[e, leaves_B] = distance
    return distance_EB


def fine_distances(knob: Knob) -> list[float]:
    """Distances from the strict end, ascending: those of the knob's fine points, others in equal
    ratios between them, and halves of the first."""
    fine = [abs(point - knob.strict) for point in knob.fine if point != knob.strict]
    near = [fine[0] / 2**k for k in range(NEAR, 0, -1)]
    between = [np.geomspace(*pair, FINER, endpoint=False)[1:] for pair in pairwise(fine)]
    return sorted([*near, *fine, *np.concatenate(between).tolist()])


def at_distance(knob: Knob, distance: float) -> float:
    """The point of a knob so far from its strict end."""
    sign = 1 if knob.fine[-1] > knob.strict else -1
    return round(knob.strict + sign * float(distance), 9)


def logits_at_exits(exit: ExitRule, recorded: Recorded) -> np.ndarray:
    """Return the logits that each example would leave with at each exit (E x B x C)."""
    logits_EBC = torch.stack([torch.from_numpy(recorded.guesses[k]) for k in exit.layers])
    answers = [exit.answers(logits_EBC[: e + 1]) for e in range(len(exit.layers))]
    return torch.stack(answers).numpy()


@dataclass(frozen=True)
class Curves:
    """The log-odds, at each exit, that an answer stays: slope x score + intercept. The score of an
    example is log((far - d) / d), of the distance d at which it leaves.

    Args:
        slope_E: above 0.
        intercept_E: of the same exits.
        laxest: the distance of the knob's laxest point; `far` is a little beyond.
    """

    slope_E: np.ndarray
    intercept_E: np.ndarray
    laxest: float

    @classmethod
    def fit(cls, distance_EB: np.ndarray, agrees_EB: np.ndarray | None, laxest: float) -> Curves:
        """agrees_EB: the answer there is that of full depth; None: one curve for all exits."""
        plain = cls(np.ones(len(distance_EB)), np.zeros(len(distance_EB)), laxest)
        if agrees_EB is None:
            return plain
        lines = []
        for score_B, agrees_B in zip(plain.levels(distance_EB), agrees_EB, strict=True):
            leaves_B = np.isfinite(score_B)
            lines.append(logistic(score_B[leaves_B], agrees_B[leaves_B].astype(float)))
        slope_E, intercept_E = np.transpose(lines)
        return cls(slope_E.clip(min=LEAST_SLOPE), intercept_E, laxest)

    def levels(self, distance_EB: np.ndarray) -> np.ndarray:
        """The log-odds of each example at each exit; -inf where it does not leave."""
        ratio_EB = (FAR * self.laxest / distance_EB - 1).clip(min=0)
        with np.errstate(divide="ignore"):
            score_EB = np.log(ratio_EB)
        return self.slope_E[:, None] * score_EB + self.intercept_E[:, None]

    def distances(self, level: float) -> np.ndarray:
        """The distance from the strict end, at each exit, at which the log-odds are `level`."""
        score_E = (level - self.intercept_E) / self.slope_E
        return (FAR * self.laxest * expit(-score_E)).clip(max=self.laxest)


def logistic(score_B: Float[np.ndarray, " b"], stays_B: Float[np.ndarray, " b"]) -> np.ndarray:
    """Slope and intercept of a logistic regression with a weak prior towards slope 1 and intercept
    0."""
    x_B2 = np.stack([score_B, np.ones_like(score_B)], 1)
    prior = np.array([1.0, 0.0])

    def loss(line: np.ndarray) -> tuple[float, np.ndarray]:
        """The loss and its gradient."""
        odds_B = x_B2 @ line
        entropy_B = np.logaddexp(0, odds_B) - stays_B * odds_B
        gradient = x_B2.T @ (expit(odds_B) - stays_B) + (line - prior)
        return float(entropy_B.sum() + ((line - prior) ** 2).sum() / 2), gradient

    return minimize(loss, prior, jac=True, method="BFGS", options={"gtol": 1e-8}).x


def spaced(level_EB: np.ndarray, cost_EB: np.ndarray) -> list[float]:
    """Levels from strict to lax whose mean costs are STEP of full cost apart, and the laxest."""
    levels = np.unique(level_EB[np.isfinite(level_EB)])[::-1]
    if not len(levels):
        return []
    tried = levels[np.linspace(0, len(levels) - 1, min(len(levels), LEVELS)).round().astype(int)]
    columns, last = np.arange(level_EB.shape[1]), len(level_EB)
    kept, least = [], float(cost_EB[-1].mean())
    step = STEP * least
    for level in tried:
        leaves_EB = level_EB >= level
        place_B = np.where(leaves_EB.any(0), leaves_EB.argmax(0), last)
        cost = float(cost_EB[place_B, columns].mean())
        if cost <= least - step + ROUNDING or level == tried[-1]:
            kept.append(float(level))
            least = cost
    return kept


@dataclass(frozen=True)
class Replay:
    """The rule itself on the examples of the fit: it may look at earlier exits' points too."""

    exit: ExitRule
    recorded: Recorded
    cost_EB: np.ndarray
    original_BC: np.ndarray

    def at(self, point: float | list[float]) -> DialPoint:
        """Return the cost, accuracy and agreement of the rule at a point of its knob."""
        outcome = replace(self.recorded, policies=()).under(at_point(self.exit, point))
        places = [*self.exit.layers, len(self.recorded.tokens_LB)]
        place_B = np.searchsorted(places, outcome.depth_B)
        kind, labels_B = self.recorded.kind, self.recorded.labels
        right_B = kind.right(outcome.logits_BC, labels_B)
        return DialPoint(
            exit=point,
            reduction=None,
            cost=float(self.cost_EB[place_B, np.arange(len(place_B))].mean()),
            accuracy=float(np.nan_to_num(right_B).mean()),
            agreement=float(kind.same(outcome.logits_BC, self.original_BC).mean()),
        )


def flops_shares(encoder: AdaptiveEncoder, exit: ExitRule, recorded: Recorded) -> np.ndarray:
    """Return each example's cost of leaving at each exit, and of running every layer (E x B). Costs
    are shares of the mean cost of the same encoder with everything off."""
    full = static_flops(encoder, recorded.lengths).mean()
    depths = [*exit.layers, encoder.shape.num_layers]
    size, tokens_LB, lengths_B = len(recorded), recorded.tokens_LB, recorded.lengths
    costs = [flops(encoder, exit, tokens_LB, np.full(size, depth), lengths_B) for depth in depths]
    return np.stack(costs) / full
