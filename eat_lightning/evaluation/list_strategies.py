"""Strategies for cheaper reranking: a schedule, fewer candidates, fewer layers, a smaller model.

All are evaluated from scores that each model computed once, at every depth.

Shapes: B pairs of all lists, D depths (the last: all layers), Q lists.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from eat_lightning.bundle.rerank import rerank
from eat_lightning.long_texts import TokenWindow
from eat_lightning.methods.exit.fixed import Fixed
from eat_lightning.methods.exit.never import Never
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.flops import flops, head_flops
from eat_lightning.model.packed import Batch
from eat_lightning.model.trace import Trace
from eat_lightning.record.list_losses import lost_Q, swapped_Q
from eat_lightning.record.lists import Counts, places, ranks
from eat_lightning.record.point import Point
from eat_lightning.record.record import Record

FULL, SMALL = "fp32", "small"
AT = 10  # places that NDCG and MRR look at


@dataclass(frozen=True)
class DepthCosts:
    """FLOPs of each pair by depth.

    Args:
        layer_DB: of the layers up to each depth; for the last depth including its head.
        head_DB: of the head at each depth before the last; 0 at the last.
    """

    layer_DB: np.ndarray
    head_DB: np.ndarray

    @classmethod
    def of(cls, encoder: AdaptiveEncoder, tokens_B: np.ndarray) -> DepthCosts:
        last = encoder.shape.num_layers
        tokens_LB = np.repeat(tokens_B[None], last, axis=0)
        depths = [np.full(len(tokens_B), depth) for depth in range(last + 1)]
        layers = [flops(encoder, Never(), tokens_LB, depth_B) for depth_B in depths]
        heads = [head_flops(encoder, depth, tokens_B) + 0.0 * tokens_B for depth in range(last)]
        return cls(np.stack(layers), np.stack([*heads, np.zeros(len(tokens_B))]))

    def take(self, rows: np.ndarray) -> DepthCosts:
        return DepthCosts(self.layer_DB[:, rows], self.head_DB[:, rows])

    def spent_B(self, depth_B: np.ndarray, heads: Iterable[int]) -> np.ndarray:
        """FLOPs of pairs that reached these depths, including the heads evaluated on the way."""
        spent_B = self.layer_DB[depth_B, np.arange(len(depth_B))]
        for depth in heads:
            spent_B = spent_B + self.head_DB[depth] * (depth_B >= depth)
        return spent_B


@dataclass(frozen=True)
class ListBench:
    """Lists on which strategies are evaluated.

    Args:
        records: of each model, by dtype, and of the small model; their labels are the scores of
            `fp32`, the reference.
        costs: of the same models.
        grade_B: relevance judgements; None without judgements.
    """

    records: Mapping[str, Record]
    costs: Mapping[str, DepthCosts]
    grade_B: np.ndarray | None

    @property
    def keep(self) -> int:
        """Number of candidates that are returned per list."""
        return self.records[FULL].keep or 0

    @property
    def list_B(self) -> np.ndarray:
        """Ids of the lists, ascending."""
        list_B = self.records[FULL].group_B
        assert list_B is not None
        return list_B

    @cached_property
    def place_B(self) -> np.ndarray:
        """Ranks by the first stage."""
        return places(np.zeros(len(self.list_B)), self.list_B)

    @cached_property
    def size_B(self) -> np.ndarray:
        """Number of candidates in each pair's list."""
        return np.bincount(self.list_B)[self.list_B]

    def cost(self, trace: Trace) -> float:
        """FLOPs as a share of scoring all candidates at full depth."""
        return float(trace.flops_B.sum() / self.costs[FULL].layer_DB[-1].sum())

    def kept_Q(self, trace: Trace) -> np.ndarray:
        """Percent of the original's top candidates of each list that are returned."""
        return 100 * (1 - lost_Q(self.records[FULL], trace))

    def swapped_Q(self, trace: Trace) -> np.ndarray:
        """Percent of pairs of returned candidates whose order differs from the original's."""
        return 100 * swapped_Q(self.records[FULL], trace)

    def ndcg_Q(self, trace: Trace) -> np.ndarray:
        """NDCG@10 of each list with linear gain, times 100; the ideal order is of its candidates.

        It is 0 where no candidate is relevant.
        """
        assert self.grade_B is not None
        got_Q = self.gain_Q(ranks(trace, self.list_B))
        best_Q = self.gain_Q(places(-self.grade_B, self.list_B))
        return 100 * np.divide(got_Q, best_Q, out=np.zeros(len(got_Q)), where=best_Q > 0)

    def gain_Q(self, place_B: np.ndarray) -> np.ndarray:
        """Discounted gain of the top ten of each list."""
        grade_B = np.zeros(len(place_B)) if self.grade_B is None else self.grade_B
        return np.bincount(self.list_B, grade_B * (place_B < AT) / np.log2(place_B + 2))

    def mrr_Q(self, trace: Trace) -> np.ndarray:
        """Reciprocal rank of the first relevant candidate in the top ten, times 100; 0
        without one.
        """
        assert self.grade_B is not None
        place_B = ranks(trace, self.list_B)
        found_B = np.where((self.grade_B > 0) & (place_B < AT), 1 / (place_B + 1), 0.0)
        best_Q = np.zeros(self.list_B[-1] + 1)
        np.maximum.at(best_Q, self.list_B, found_B)
        return 100 * best_Q

    def part(self, chosen: np.ndarray, size: int) -> ListBench:
        """Return the first `size` first-stage candidates of some lists, renumbered."""
        rows = np.flatnonzero(np.isin(self.list_B, chosen) & (self.place_B < size))
        records = {name: record.take(rows) for name, record in self.records.items()}
        costs = {name: each.take(rows) for name, each in self.costs.items()}
        return ListBench(records, costs, None if self.grade_B is None else self.grade_B[rows])


@dataclass(frozen=True)
class Pairs:
    """Tokens of one list's pairs, as the model and the small model read them."""

    full: list[TokenWindow]
    small: list[TokenWindow]


@dataclass(frozen=True)
class ListModels:
    """Encoders by dtype, and the small one.

    Args:
        batch_of: makes a batch from tokens.
        keep: number of candidates that are returned per list.
    """

    keep: int
    encoders: Mapping[str, AdaptiveEncoder]
    batch_of: Callable[[list[TokenWindow]], Batch]

    def ordered(self, model: str, windows: list[TokenWindow], counts: Counts) -> Trace:
        """Rank one list by a schedule; an empty schedule drops no candidates."""
        list_B = np.zeros(len(windows), int)
        return rerank(self.encoders[model], self.batch_of(windows), list_B, counts)


class Strategy(ABC):
    """A way to rank lists with less than all layers for all candidates."""

    @abstractmethod
    def replay(self, lists: ListBench) -> Trace:
        """Evaluate the strategy on the recorded scores. The trace includes FLOPs."""

    @abstractmethod
    def run(self, models: ListModels, pairs: Pairs) -> Trace:
        """Run the strategy on one list, for timing."""


@dataclass(frozen=True)
class Scheduled(Strategy):
    """Candidates are dropped layer by layer by a schedule's counts; an empty schedule
    drops none.
    """

    point: Point

    def __str__(self) -> str:
        return ", ".join(f"{count} behind {depth}" for depth, count in self.counts.items())

    @property
    def counts(self) -> Counts:
        return self.point.counts or {}

    @property
    def model(self) -> str:
        """Name of the record."""
        return self.point.weights or self.point.dtype

    def replay(self, lists: ListBench) -> Trace:
        trace = lists.records[self.model].replay(self.point)
        spent_B = lists.costs[self.model].spent_B(trace.depth_B, self.counts)
        return replace(trace, flops_B=spent_B)

    def run(self, models: ListModels, pairs: Pairs) -> Trace:
        windows = pairs.small if self.point.weights else pairs.full
        return models.ordered(self.model, windows, self.counts)


@dataclass(frozen=True)
class Cut(Strategy):
    """The first stage's best share runs through the first few layers; the rest is not scored."""

    share: float
    depth: int

    def __str__(self) -> str:
        return f"{100 * self.share:g} % of the candidates, {self.depth} layers"

    def replay(self, lists: ListBench) -> Trace:
        guess_BC, costs = lists.records[FULL].guesses[self.depth], lists.costs[FULL]
        first_B = lists.place_B < count(self.share, lists.size_B, lists.keep)
        depth_B = np.where(first_B, self.depth, -1)  # the others stand behind, as they stood
        score_B = np.where(first_B, guess_BC[:, 0], -lists.place_B)
        spent_B = costs.layer_DB[self.depth] + costs.head_DB[self.depth]
        return Trace(score_B[:, None], depth_B, flops_B=spent_B * first_B)

    def run(self, models: ListModels, pairs: Pairs) -> Trace:
        encoder = models.encoders[FULL].replacing(exit=Fixed(self.depth))
        return encoder(
            models.batch_of(pairs.full[: int(count(self.share, len(pairs.full), models.keep))])
        )


@dataclass(frozen=True)
class Cascade(Strategy):
    """The small model ranks all candidates, and the full model reranks a share of the best."""

    share: float

    def __str__(self) -> str:
        return f"{100 * self.share:g} % of the candidates go on"

    def replay(self, lists: ListBench) -> Trace:
        everyone = Point(counts={})
        small, full = (lists.records[model].replay(everyone) for model in (SMALL, FULL))
        small_B, full_B = small.logits_BC[:, 0], full.logits_BC[:, 0]
        place_B = places(-small_B, lists.list_B)
        first_B = place_B < count(self.share, lists.size_B, lists.keep)
        score_B = np.where(first_B, full_B, small_B)
        costs = {model: lists.costs[model].layer_DB[-1] for model in (SMALL, FULL)}
        depth_B = small.depth_B + full.depth_B * first_B
        return Trace(score_B[:, None], depth_B, flops_B=costs[SMALL] + costs[FULL] * first_B)

    def run(self, models: ListModels, pairs: Pairs) -> Trace:
        score_B = models.ordered(SMALL, pairs.small, {}).logits_BC[:, 0].float().numpy()
        best = np.argsort(-score_B, kind="stable")[
            : int(count(self.share, len(score_B), models.keep))
        ]
        return models.ordered(FULL, [pairs.full[row] for row in best], {})


def count(share: float, size: Any, keep: int) -> Any:
    """Return a share of a list's candidates, but at least as many as are returned."""
    return np.maximum(keep, np.ceil(share * size))
