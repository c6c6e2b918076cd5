"""Schedules for lists: chosen on some queries, certified on others.

Shapes: B pairs of all lists, D depths (the last: all layers), Q lists, T schedules.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int

from eat_lightning.deploy.certify.procedure._bounds import betting, fixed_sequence
from eat_lightning.infer.rerank import ListSchedule, Reranked, places

# Shares of the wanted candidates that each depth alone lets pass, from strict to lax.
SHARES = (1.0, *(1 - 0.001 * 1.35**k for k in range(18)))


@dataclass(frozen=True)
class ListRecord:
    """Scores of some lists at every depth, so that schedules need no further pass.

    Args:
        score_DB: what the heads say at each depth, full depth last.
        original_B: the original's scores.
        tokens_B: of each pair.
        list_B: numbers of the lists, ascending.
        keep: candidates of a list that are returned.
    """

    score_DB: Float[np.ndarray, "d b"]
    original_B: Float[np.ndarray, " b"]
    tokens_B: Int[np.ndarray, " b"]
    list_B: Int[np.ndarray, " b"]
    keep: int

    @cached_property
    def wanted_B(self) -> np.ndarray:
        """True for the original's best of each list."""
        return places(-self.original_B, self.list_B) < self.keep

    def lost_Q(self, found: Reranked) -> Float[np.ndarray, " q"]:
        """The share of the original's best of each list that are not among those returned."""
        missed_B = self.wanted_B & (found.place_B >= self.keep)
        return np.bincount(self.list_B, missed_B) / self.keep

    def cost(self, found: Reranked) -> float:
        """Tokens times layers that were run, as a share of all."""
        layers = len(self.score_DB) - 1
        return float((found.depth_B * self.tokens_B).sum() / (layers * self.tokens_B.sum()))

    def schedule(self, share: float) -> ListSchedule:
        """Let pass, behind each depth, so many that the share of the wanted would be among them."""
        counts: dict[int, int] = {}
        fewest = int(np.bincount(self.list_B).max())
        for depth, score_B in enumerate(self.score_DB[:-1]):
            place_W = np.sort(places(-score_B, self.list_B)[self.wanted_B])
            needed = int(place_W[max(0, int(np.ceil(share * len(place_W))) - 1)]) + 1
            if max(needed, self.keep) < fewest:
                fewest = counts[depth] = max(needed, self.keep)
        return ListSchedule(counts)


def chain(select: ListRecord) -> list[ListSchedule]:
    """Schedules from strict to lax, each cheaper on *select* than the one before."""
    found: list[ListSchedule] = []
    least = 1.0
    for share in SHARES:
        schedule = select.schedule(share)
        cost = select.cost(schedule.replayed(select.score_DB, select.list_B))
        if cost < least:
            found, least = [*found, schedule], cost
    return found


def certified(
    schedules: Sequence[ListSchedule], certify: ListRecord, agree: float, confidence: float
) -> list[tuple[ListSchedule, float, float]]:
    """Test schedules one after another, from strict to lax, until one fails (Learn then Test).

    Returns those that hold with their share of lost candidates and its p-value. The mean loss of a
    list is bounded by betting; lists are the units.
    """
    losses_TQ = np.array(
        [certify.lost_Q(s.replayed(certify.score_DB, certify.list_B)) for s in schedules]
    ).reshape(len(schedules), -1)
    p_T = betting(losses_TQ, 1 - agree, 1 - confidence)
    holding = int(fixed_sequence(p_T, 1 - confidence))
    shares = zip(schedules, losses_TQ.mean(1).tolist(), p_T.tolist(), strict=True)
    return list(shares)[:holding]
