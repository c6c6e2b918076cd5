"""Scores of some lists at every depth, so that what leaves where needs no further pass.

Shapes: B pairs of all lists, D depths (the last: all layers), Q lists.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int

from eat_lightning.infer.rerank import Reranked, places


@dataclass(frozen=True)
class ListRecord:
    """Scores of lists, and the original's order.

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

    def swapped_Q(self, found: Reranked) -> Float[np.ndarray, " q"]:
        """The share of the pairs of each list's returned candidates that the original orders
        otherwise: (1 - Kendall's tau) / 2. All lists return as many."""
        returned = np.flatnonzero(found.place_B < self.keep)
        in_order = np.lexsort((found.place_B[returned], self.list_B[returned]))
        num_lists = int(self.list_B[-1]) + 1
        score_QK = self.original_B[returned[in_order]].reshape(num_lists, -1)
        before, behind = np.triu_indices(score_QK.shape[1], k=1)
        if not len(before):
            return np.zeros(num_lists)
        return (score_QK[:, before] < score_QK[:, behind]).mean(1)

    def cost(self, found: Reranked) -> float:
        """Tokens times layers that were run, as a share of all."""
        layers = len(self.score_DB) - 1
        return float((found.depth_B * self.tokens_B).sum() / (layers * self.tokens_B.sum()))
