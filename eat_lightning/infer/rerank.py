"""Lists: the candidates of a query leave between layers by their place among each other.

Behind some depths the best candidates of each list go on, by the scores that the head there gives
(Cascade Transformer, Soldaini and Moschitti 2020); the others keep the place that they have. Scores
of two depths are never compared: who got further stands before.

Shapes: B candidates of all lists of a batch, G of a part, L layers, D depths (0: the embedding, the
last: all layers), Q lists.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.options import PassOptions
from eat_lightning.model.packed import Batch
from eat_lightning.model.reason import FIRST_REASON, Reason, reason_names
from eat_lightning.model.trace import Trace

REASONS = ("outranked",)


@dataclass(frozen=True)
class ListSchedule:
    """How many candidates of a list go on behind a depth.

    Args:
        counts: candidates by depth; a list with no more of them goes on whole.
    """

    counts: Mapping[int, int]

    def goes_on(
        self, depth: int, score_G: Float[np.ndarray, " g"], list_G: Int[np.ndarray, " g"]
    ) -> Bool[np.ndarray, " g"]:
        """Tell who goes on behind a depth. Of equal scores the first stands before.

        Args:
            list_G: numbers of the lists, ascending.
        """
        if depth not in self.counts:
            return np.ones(len(score_G), bool)
        return places(-score_G, list_G) < self.counts[depth]

    def replayed(
        self, score_DB: Float[np.ndarray, "d b"], list_B: Int[np.ndarray, " b"]
    ) -> Reranked:
        """Say where each candidate would leave, from its scores at all depths."""
        last = len(score_DB) - 1
        depth_B, here_G = np.full(len(list_B), last), np.arange(len(list_B))
        for depth in sorted(depth for depth in self.counts if depth < last):
            stays_G = self.goes_on(depth, score_DB[depth, here_G], list_B[here_G])
            depth_B[here_G[~stays_G]] = depth
            here_G = here_G[stays_G]
        return Reranked(score_DB[depth_B, np.arange(len(list_B))], depth_B, list_B)


@dataclass(frozen=True)
class Reranked:
    """Candidates of some lists, with the depth that each got to and its score there."""

    score_B: Float[np.ndarray, " b"]
    depth_B: Int[np.ndarray, " b"]
    list_B: Int[np.ndarray, " b"]

    @classmethod
    def of(cls, trace: Trace, list_B: Int[np.ndarray, " b"]) -> Reranked:
        return cls(trace.logits_BC[:, 0].float().numpy(), trace.depth_B.numpy(), list_B)

    @property
    def place_B(self) -> Int[np.ndarray, " b"]:
        """Places within the lists, 0 for the best."""
        order_B = np.lexsort((-self.score_B, -self.depth_B, self.list_B))
        return numbered(order_B, self.list_B)


def places(key_B: Float[np.ndarray, " b"], list_B: Int[np.ndarray, " b"]) -> Int[np.ndarray, " b"]:
    """Place of each candidate within its list by a key, the smallest first.

    Args:
        list_B: ascending.
    """
    return numbered(np.lexsort((key_B, list_B)), list_B)


def numbered(
    order_B: Int[np.ndarray, " b"], list_B: Int[np.ndarray, " b"]
) -> Int[np.ndarray, " b"]:
    """Number the candidates of each list in an order that holds its lists one after another."""
    first_B = np.searchsorted(list_B, list_B)
    place_B = np.empty(len(order_B), int)
    place_B[order_B] = np.arange(len(order_B))
    return place_B - first_B


@torch.inference_mode()
def rerank(
    encoder: AdaptiveEncoder, batch: Batch, list_B: Int[np.ndarray, " b"], schedule: ListSchedule
) -> Trace:
    """Run whole lists through the encoder; who leaves costs nothing in the layers behind.

    Args:
        encoder: gives a score, and has a head at each depth of the schedule.
        batch: pairs of a query and a candidate.
        list_B: numbers of the lists, ascending.
    """
    recorder = encoder.recorder(batch, PassOptions(leave=True))
    packed = encoder.start(batch, recorder)
    last = len(encoder.layers)
    for depth in range(last):
        packed, _ = encoder.step(packed, recorder, depth)
        if depth not in schedule.counts:
            continue
        packed = encoder.guess(packed, recorder, depth)
        here_G = recorder.here_B
        score_G = recorder.guesses[depth][here_G, 0].float().numpy()
        stays_G = schedule.goes_on(depth, score_G, list_B[here_G.numpy()])
        if not stays_G.all():
            reason_G = np.where(stays_G, int(Reason.STAYS), FIRST_REASON)
            packed = packed.only(recorder.leave(depth, torch.from_numpy(reason_G))[1])
    packed, _ = encoder.step(packed, recorder, last)
    encoder.guess(packed, recorder, last)
    recorder.leave(last, torch.full_like(recorder.here_B, int(Reason.LAST_LAYER)))
    return replace(recorder.end(), names=reason_names(REASONS))
