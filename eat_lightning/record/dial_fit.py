"""Fit the dial of an exit rule: operating points of its knob from full depth to the laxest.

One number, the level, orders the points: the least predicted probability that an early answer is
that of full depth, the same at every exit. At each exit this probability is a logistic function of
an example's distance, which is how far the knob must be from its strict end for the example to
leave. The functions are fitted on the records of the calibration cut and need no labels. A lower
level makes every exit laxer on any data, so no example leaves later at a point further along.
`experiments/pays/page.md` compares this with other fits.

An exit is closed, and its head does not run, until the first point at which leaving there saves
more than its head costs for all examples that reach it. From there on it is open.

Shapes: B examples, E exits (the last layer is one more row of costs).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.optimize import minimize
from scipy.special import expit
from torch import Tensor

from eat_lightning.methods.exit.fixed import Fixed
from eat_lightning.methods.exit.never import Never
from eat_lightning.model.contracts import ExitRule, Knob, at_point, only_open, points_by_layer
from eat_lightning.model.contracts.exit import decide
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.flops import flops, static_flops
from eat_lightning.model.method import faults_of
from eat_lightning.model.specification import Specification
from eat_lightning.model.trace import Trace
from eat_lightning.record.dial import ROUNDING, along
from eat_lightning.record.measured import Measured
from eat_lightning.record.point import Point
from eat_lightning.record.record import Record

STEP = 0.005  # between the costs of neighbouring points, as a share of full cost
LEVELS = 1000  # levels that are tried
NEAR = 12  # halvings of the knob's first distance from its strict end
FINER = 4  # distances tried for each of the knob's fine points
FAR = 1.01  # the distance with probability 0, in distances of the knob's laxest point
LEAST_SLOPE = 0.05  # at slope 0, as of a head that guesses at random, all would leave at once


def fit_dial(
    exit: ExitRule,
    record: Record,
    costs: ExitCosts,
    full_cost: float,
    original_BC: np.ndarray | None = None,
) -> list[Measured]:
    """Fit the points of the dial, each cheaper than the one before; the first is full depth.
    Policies are ignored, since they only make exits later.

    Args:
        exit: a rule with a knob.
        costs: costs of leaving at each of `exit.layers` and at the last layer, in any unit.
        full_cost: mean cost of running all layers without evaluating an exit.
        original_BC: logits of the answers to agree with; None: those of the last layer.
    """
    knob: Any = exit.knob
    if original_BC is None:
        original_BC = record.full_BC
    distance_EB = leaving_distances(exit, record)
    agrees_EB = record.kind.same(logits_at_exits(exit, record), original_BC)
    laxest = abs(knob.fine[-1] - knob.strict)
    curves = Curves.fit(distance_EB, None if shares_a_point(exit) else agrees_EB, laxest)

    def points() -> Iterator[Point]:
        """Yield full depth, and points at which more and more examples leave."""
        yield exits_at(exit, np.zeros(len(exit.layers)))
        for level, open_E in spaced(curves.levels(distance_EB), costs):
            yield exits_at(exit, np.where(open_E, curves.distances(level), 0))

    def cost(point: Point, trace: Trace) -> float:
        return costs.of_rule(point.methods["exit"].like(exit), trace.depth_B)

    alone = replace(record, policies=(), exit=exit)
    return [*along(points(), alone, cost, original_BC, full_cost)]


def exits_at(exit: ExitRule, distance_E: np.ndarray) -> Point:
    """Return the point at which an exit rule's knob has this distance from its strict end at each
    exit. If all exits share one value, it is that of the first."""
    knob: Any = exit.knob
    values = [at_distance(knob, distance) for distance in distance_E]
    value = values[0] if shares_a_point(exit) else values
    return Point(methods={"exit": Specification.of("exit", exit).changed({knob.name: value})})


def leaving_distances(exit: ExitRule, record: Record) -> Float[np.ndarray, "e b"]:
    """Return the least distance of the knob from its strict end at which each example leaves at
    each exit, if it gets there; infinite if it leaves at no value of the knob."""
    knob: Any = exit.knob
    logits_EBC = stacked(record.guesses, exit.layers)
    has_signals = any(k in record.signals for k in exit.layers)
    signals_EBS = stacked(record.signals, exit.layers) if has_signals else None
    distance_EB = np.full(logits_EBC.shape[:2], np.inf)
    for distance in reversed(fine_distances(knob)):
        rule = at_point(exit, at_distance(knob, distance))
        for e in range(len(exit.layers)):
            signals_here = None if signals_EBS is None else signals_EBS[: e + 1]
            leaves_B = decide(rule, logits_EBC[: e + 1], signals_here).numpy() > 0
            distance_EB[e, leaves_B] = distance
    return distance_EB


def fine_distances(knob: Knob) -> list[float]:
    """Return the distances from the strict end that are tried, ascending: those of the knob's fine
    points, some in equal ratios between them, and repeated halves of the first."""
    fine = [abs(point - knob.strict) for point in knob.fine if point != knob.strict]
    near = [fine[0] / 2**k for k in range(NEAR, 0, -1)]
    between = [np.geomspace(*pair, FINER, endpoint=False)[1:] for pair in pairwise(fine)]
    return sorted([*near, *fine, *np.concatenate(between).tolist()])


def at_distance(knob: Knob, distance: float) -> float:
    """Return the value of a knob at a distance from its strict end."""
    if distance == 0:
        return knob.strict
    sign = 1 if knob.fine[-1] > knob.strict else -1
    return round(knob.strict + sign * float(distance), 9)


def logits_at_exits(exit: ExitRule, record: Record) -> np.ndarray:
    """Return the logits that each example would leave with at each exit (E x B x C)."""
    logits_EBC = stacked(record.guesses, exit.layers)
    answers = [exit.answers(logits_EBC[: e + 1]) for e in range(len(exit.layers))]
    return torch.stack(answers).numpy()


def stacked(by_layer: Mapping[int, np.ndarray], layers: Sequence[int]) -> Tensor:
    """Return the arrays of those layers that have one, as one tensor (E x B x ...)."""
    return torch.stack([torch.from_numpy(by_layer[k]) for k in layers if k in by_layer])


@dataclass(frozen=True)
class Curves:
    """Predicts the log-odds, at each exit, that an early answer is that of full depth: slope x
    score + intercept. The score of an example is log((far - d) / d), where d is the distance at
    which it leaves and far = FAR x laxest.

    Args:
        slope_E: slope at each exit, above 0.
        intercept_E: intercept at each exit.
        laxest: distance of the knob's laxest value.
    """

    slope_E: np.ndarray
    intercept_E: np.ndarray
    laxest: float

    @classmethod
    def fit(cls, distance_EB: np.ndarray, agrees_EB: np.ndarray | None, laxest: float) -> Curves:
        """Fit a curve at each exit.

        Args:
            distance_EB: distance at which each example leaves at each exit.
            agrees_EB: whether its answer there is that of full depth; None: all exits have the
                curve with slope 1 and intercept 0.
            laxest: distance of the knob's laxest value.
        """
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
        """Return the log-odds of each example at each exit; -inf if it does not leave."""
        ratio_EB = (FAR * self.laxest / distance_EB - 1).clip(min=0)
        with np.errstate(divide="ignore"):
            score_EB = np.log(ratio_EB)
        return self.slope_E[:, None] * score_EB + self.intercept_E[:, None]

    def distances(self, level: float) -> np.ndarray:
        """Return the distance, at each exit, at which the log-odds are `level`."""
        score_E = (level - self.intercept_E) / self.slope_E
        return (FAR * self.laxest * expit(-score_E)).clip(max=self.laxest)


def logistic(score_B: Float[np.ndarray, " b"], stays_B: Float[np.ndarray, " b"]) -> np.ndarray:
    """Fit a logistic regression with a weak prior towards slope 1 and intercept 0; returns both."""
    x_B2 = np.stack([score_B, np.ones_like(score_B)], 1)
    prior = np.array([1.0, 0.0])

    def loss(line: np.ndarray) -> tuple[float, np.ndarray]:
        """Return the loss and its gradient."""
        odds_B = x_B2 @ line
        entropy_B = np.logaddexp(0, odds_B) - stays_B * odds_B
        gradient = x_B2.T @ (expit(odds_B) - stays_B) + (line - prior)
        return float(entropy_B.sum() + ((line - prior) ** 2).sum() / 2), gradient

    return minimize(loss, prior, jac=True, method="BFGS", options={"gtol": 1e-8}).x


def spaced(
    level_EB: Float[np.ndarray, "e b"], costs: ExitCosts
) -> Iterator[tuple[float, Bool[np.ndarray, " e"]]]:
    """Yield levels from strict to lax whose mean costs are STEP of full cost apart, and the laxest,
    each with a mask of the exits that are open there."""
    levels = np.unique(level_EB[np.isfinite(level_EB)])[::-1]
    tried = levels[np.linspace(0, len(levels) - 1, min(len(levels), LEVELS)).round().astype(int)]
    open_E = costs.always_open
    least = costs.mean(np.zeros_like(level_EB, bool), open_E)
    step = STEP * least
    for level in tried:
        leaves_EB = level_EB >= level
        if costs.without_heads(leaves_EB) > least - step + ROUNDING and level != tried[-1]:
            continue  # whatever is open
        open_E = costs.opened(leaves_EB, open_E)
        cost = costs.mean(leaves_EB, open_E)
        if cost <= least - step + ROUNDING or level == tried[-1]:
            yield float(level), open_E
            least = cost


@dataclass(frozen=True)
class ExitCosts:
    """Costs of leaving at each exit and at the last layer, for each example.

    Args:
        cost_EB: costs with every exit open, so a row includes all heads up to it; the last row is
            for the last layer.
        head_EB: the part that is each exit's own head, which is saved if it is closed; None: closed
            exits save nothing.
    """

    cost_EB: Float[np.ndarray, "e b"]
    head_EB: Float[np.ndarray, "e b"] | None = None

    @property
    def always_open(self) -> Bool[np.ndarray, " e"]:
        """Mask of the exits that save nothing when they are closed."""
        if self.head_EB is None:
            return np.ones(len(self.cost_EB) - 1, bool)
        return (self.head_EB == 0).all(1)

    def at(
        self, place_B: Int[np.ndarray, " b"], open_E: Bool[np.ndarray, " e"]
    ) -> Float[np.ndarray, " b"]:
        """Return the cost of each example.

        Args:
            place_B: the row of `cost_EB` where it leaves.
            open_E: mask of the open exits.
        """
        columns = np.arange(len(place_B))
        cost_B = self.cost_EB[place_B, columns]
        if self.head_EB is None or open_E.all():
            return cost_B
        saved_EB = (self.head_EB * ~open_E[:, None]).cumsum(0)
        return cost_B - saved_EB[place_B.clip(max=len(open_E) - 1), columns]

    def mean(self, leaves_EB: Bool[np.ndarray, "e b"], open_E: Bool[np.ndarray, " e"]) -> float:
        """Return the mean cost.

        Args:
            leaves_EB: whether an example leaves at an exit that is open and that it reaches.
            open_E: mask of the open exits.
        """
        here_EB = leaves_EB & open_E[:, None]
        place_B = np.where(here_EB.any(0), here_EB.argmax(0), len(open_E))
        return float(self.at(place_B, open_E).mean())

    def of_rule(self, exit: ExitRule, depth_B: Int[np.ndarray, " b"]) -> float:
        """Return the mean cost of examples that left at these depths. Exits at the strict end of
        the rule's knob are closed."""
        place_B = np.searchsorted(exit.layers, depth_B)
        knob: Any = exit.knob
        open_E = np.asarray([*points_by_layer(exit).values()]) != knob.strict
        return float(self.at(place_B, open_E).mean())

    def without_heads(self, leaves_EB: Bool[np.ndarray, "e b"]) -> float:
        """Return the mean cost with every exit open if heads cost nothing, a lower bound."""
        if self.head_EB is None:
            return self.mean(leaves_EB, self.always_open)
        before_EB = np.concatenate([self.head_EB, np.zeros_like(self.head_EB[:1])]).cumsum(0)
        return ExitCosts(self.cost_EB - before_EB).mean(leaves_EB, np.ones(len(leaves_EB), bool))

    def opened(
        self, leaves_EB: Bool[np.ndarray, "e b"], open_E: Bool[np.ndarray, " e"]
    ) -> Bool[np.ndarray, " e"]:
        """Return a mask in which exits that save more than their heads cost are open too. They are
        opened one after the other, the one that saves most first."""
        least = self.mean(leaves_EB, open_E)
        while True:
            closed = np.flatnonzero(~open_E & leaves_EB.any(1))
            tried = [open_E | (np.arange(len(open_E)) == e) for e in closed]
            costs = [self.mean(leaves_EB, each_E) for each_E in tried]
            if min(costs, default=least) >= least:
                return open_E
            least, open_E = min(costs), tried[int(np.argmin(costs))]


def shares_a_point(exit: ExitRule) -> bool:
    """Whether a rule's knob has one value for all exits."""
    knob: Any = exit.knob
    return bool(faults_of(at_point(exit, [knob.strict] * len(exit.layers)), None))


def can_close(encoder: AdaptiveEncoder, exit: ExitRule) -> bool:
    """Whether the heads of exits at the strict end of the knob do not run."""
    if exit.knob is None or shares_a_point(exit):
        return False
    closed = only_open(at_point(exit, [exit.knob.strict] * len(exit.layers)), encoder.policies)
    return encoder.heads.guessing(closed) == [encoder.shape.num_layers]


def flops_shares(encoder: AdaptiveEncoder, exit: ExitRule, record: Record) -> ExitCosts:
    """Return the costs of leaving at each exit and at the last layer, as shares of the mean FLOPs
    of the same encoder without methods."""
    size, tokens_LB, lengths_B = len(record), record.tokens_LB, record.lengths
    full = static_flops(encoder, lengths_B).mean()

    def cost_of(rule: ExitRule, depth: int) -> np.ndarray:
        return flops(encoder, rule, tokens_LB, np.full(size, depth), lengths_B) / full

    cost_EB = np.stack([cost_of(exit, k) for k in (*exit.layers, encoder.shape.num_layers)])
    if not can_close(encoder, exit):
        return ExitCosts(cost_EB)
    heads = [cost_of(Fixed(k), k) - cost_of(Never(), k) for k in exit.layers]
    deciding = exit.flops(encoder.shape, encoder.num_labels) / full
    return ExitCosts(cost_EB, np.stack(heads) + deciding)


def full_depth_share(encoder: AdaptiveEncoder, record: Record) -> float:
    """Return the mean FLOPs of all layers without evaluating an exit, as a share of those of the
    same encoder without methods."""
    depth_B = np.full(len(record), encoder.shape.num_layers)
    whole_B = flops(encoder, Never(), record.tokens_LB, depth_B, record.lengths)
    return float(whole_B.mean() / static_flops(encoder, record.lengths).mean())
