"""Choose which exits are open and from which level on examples leave there: the least mean cost at
a number of changed answers that is expected.

An open exit costs its guess for every example that reaches it, and ends a graph. A closed one saves
both, and the changes that it would have made can be spent at others, which become laxer. So both
are chosen together, for each number of changes: exits are opened or closed one at a time, as long
as that lowers the cost. A level is that of `dial_fit`, and predicts the chance that an answer
changes. Sums of these chances are used, because a choice by the few answers that did change would
follow their noise.

Shapes: B examples, E exits, K open ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import expit

from eat_lightning.model.contracts import ExitRule
from eat_lightning.model.specification import Specification
from eat_lightning.record.dial import ROUNDING
from eat_lightning.record.dial_fit import Curves, exits_at, leaving_distances, logits_at_exits
from eat_lightning.record.record import Record


@dataclass(frozen=True)
class Choice:
    """Open exits, the level at which examples leave there, and the mean cost in layers."""

    open_E: Bool[np.ndarray, " e"]
    level: float
    cost: float


@dataclass(frozen=True)
class OpenExits:
    """The search for the exits that are open.

    Args:
        level_EB: level from which on each example leaves at each exit; -inf if it never does.
        changes_EB: chance that its answer there is another than the original's.
        layers: layers before each exit, and all layers.
        guess: layers that an open exit costs an example that reaches it.
    """

    level_EB: Float[np.ndarray, "e b"]
    changes_EB: Float[np.ndarray, "e b"]
    layers: Sequence[int]
    guess: float

    def laxest(self, open_E: Bool[np.ndarray, " e"], most: float) -> Choice:
        """Return the lowest level at which at most so many changes are expected.

        As the level falls, an example moves from the last layer to ever earlier exits, each time at
        the highest level of any exit up to there.
        """
        rows = np.flatnonzero(open_E)
        guesses_K = self.guess * np.arange(1, len(rows) + 2).clip(max=len(rows))
        cost_K = np.array(self.layers)[[*rows, -1]] + guesses_K
        reach_KB = np.maximum.accumulate(self.level_EB[rows])
        changes_KB = np.pad(self.changes_EB[rows], ((0, 1), (0, 0)))
        order = np.argsort(-reach_KB, axis=None)
        level, size = reach_KB.ravel()[order], self.level_EB.shape[1]
        is_last = level > np.append(level[1:], -np.inf)  # of its ties, which leave together
        ends = np.flatnonzero(is_last & np.isfinite(level))
        changed = np.cumsum(-np.diff(changes_KB, axis=0).ravel()[order])
        num = int((np.maximum.accumulate(changed[ends]) <= most + ROUNDING).sum())
        if not num:
            return Choice(open_E, np.inf, float(cost_K[-1]))
        end = ends[num - 1]
        saved = np.repeat(np.diff(cost_K), size)[order[: end + 1]].sum() / size
        return Choice(open_E, float(level[end]), float(cost_K[-1] - saved))

    def best(self, most: float, start_E: Bool[np.ndarray, " e"]) -> Choice:
        """Return the choice of least cost that is reached from `start_E` by opening or closing one
        exit at a time."""
        best = self.laxest(start_E, most)
        while True:
            flipped = (best.open_E ^ one_E for one_E in np.eye(len(start_E), dtype=bool))
            found = min((self.laxest(each_E, most) for each_E in flipped), key=lambda c: c.cost)
            if found.cost >= best.cost - ROUNDING:
                return best
            best = found


def opened(
    rule: ExitRule,
    record: Record,
    guess: float,
    counts: Sequence[float],
    original_BC: np.ndarray | None = None,
) -> Iterator[Specification]:
    """Yield the rule's point of least cost for each number of changes to expect of exits, where
    that costs less than before.

    Args:
        rule: a rule whose knob has a value for each exit.
        record: of rows without policies.
        guess: layers that an open exit costs.
        counts: ascending.
        original_BC: logits of the answers to agree with; None: those of the last layer.
    """
    original_BC = record.full_BC if original_BC is None else original_BC
    distance_EB = leaving_distances(rule, record)
    agrees_EB = record.kind.same(logits_at_exits(rule, record), original_BC)
    knob: Any = rule.knob
    curves = Curves.fit(distance_EB, agrees_EB, abs(knob.fine[-1] - knob.strict))
    layers = [*rule.layers, len(record.tokens_LB)]
    level_EB = curves.levels(distance_EB)
    search = OpenExits(level_EB, expit(-level_EB), layers, guess)
    open_E, least = np.ones(len(rule.layers), bool), float(layers[-1])
    for most in counts:
        choice = search.best(most, open_E)
        open_E = choice.open_E
        if choice.cost < least - ROUNDING:
            least = choice.cost
            distance_E = np.where(open_E, curves.distances(choice.level), 0)
            yield exits_at(rule, distance_E).methods["exit"]
