"""Ways to order lists for less: a schedule, fewer candidates, fewer layers, a smaller model first.

All are judged from scores that each model gave once, at every depth.

Shapes: B pairs of all lists, D depths (the last: all layers), Q lists.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from eat_lightning.infer.list_record import ListRecord
from eat_lightning.infer.rerank import ListSchedule, Reranked, places, rerank
from eat_lightning.long_texts import TokenWindow
from eat_lightning.methods.exit.fixed import Fixed
from eat_lightning.methods.exit.never import Never
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.flops import flops, head_flops
from eat_lightning.model.packed import Batch
from eat_lightning.model.trace import Trace

FULL, SMALL = "fp32", "small"
AT = 10  # places that NDCG and MRR look at


@dataclass(frozen=True)
class ModelScores:
    """Scores and work of one model.

    Args:
        layer_DB: FLOPs up to each depth; at the last with its head.
        head_DB: FLOPs of the head at each depth before the last; 0 there.
    """

    score_DB: np.ndarray
    layer_DB: np.ndarray
    head_DB: np.ndarray

    @classmethod
    def of(
        cls, encoder: AdaptiveEncoder, score_DB: np.ndarray, tokens_B: np.ndarray
    ) -> ModelScores:
        last = encoder.shape.num_layers
        tokens_LB = np.repeat(tokens_B[None], last, axis=0)
        depths = [np.full(len(tokens_B), depth) for depth in range(last + 1)]
        layers = [flops(encoder, Never(), tokens_LB, depth_B) for depth_B in depths]
        heads = [head_flops(encoder, depth, tokens_B) + 0.0 * tokens_B for depth in range(last)]
        return cls(score_DB, np.stack(layers), np.stack([*heads, np.zeros(len(tokens_B))]))

    def part(self, rows: np.ndarray) -> ModelScores:
        return ModelScores(self.score_DB[:, rows], self.layer_DB[:, rows], self.head_DB[:, rows])


@dataclass(frozen=True)
class ListSet:
    """Lists with what each model says of their candidates.

    Args:
        list_B: numbers of the lists, ascending.
        grade_B: judgements; None where nobody judged.
        models: by dtype, and the small one; `fp32` is what the others are compared with.
        keep: candidates of a list that are returned.
    """

    list_B: np.ndarray
    tokens_B: np.ndarray
    grade_B: np.ndarray | None
    models: Mapping[str, ModelScores]
    keep: int

    @cached_property
    def place_B(self) -> np.ndarray:
        """Places of the first stage."""
        return places(np.zeros(len(self.list_B)), self.list_B)

    @cached_property
    def size_B(self) -> np.ndarray:
        """Candidates of each pair's list."""
        return np.bincount(self.list_B)[self.list_B]

    @cached_property
    def record(self) -> ListRecord:
        full = self.models[FULL].score_DB
        return ListRecord(full, full[-1], self.tokens_B, self.list_B, self.keep)

    def cost(self, ran: Ran) -> float:
        """FLOPs as a share of those of all candidates at full depth."""
        return float(ran.flops_B.sum() / self.models[FULL].layer_DB[-1].sum())

    def kept_Q(self, ran: Ran) -> np.ndarray:
        """Percent of the original's best of each list that are among those returned."""
        return 100 * (1 - self.record.lost_Q(ran.order))

    def ndcg_Q(self, ran: Ran) -> np.ndarray:
        """NDCG@10 of each list with linear gain, times 100; the ideal order is of its candidates.

        0 where no candidate is relevant.
        """
        assert self.grade_B is not None
        got_Q = self.gain_Q(ran.order.place_B)
        best_Q = self.gain_Q(places(-self.grade_B, self.list_B))
        return 100 * np.divide(got_Q, best_Q, out=np.zeros(len(got_Q)), where=best_Q > 0)

    def gain_Q(self, place_B: np.ndarray) -> np.ndarray:
        """Discounted gain of the first ten of each list."""
        grade_B = np.zeros(len(place_B)) if self.grade_B is None else self.grade_B
        return np.bincount(self.list_B, grade_B * (place_B < AT) / np.log2(place_B + 2))

    def mrr_Q(self, ran: Ran) -> np.ndarray:
        """Reciprocal rank of the first relevant candidate among ten, times 100; 0 without one."""
        assert self.grade_B is not None
        place_B = ran.order.place_B
        found_B = np.where((self.grade_B > 0) & (place_B < AT), 1 / (place_B + 1), 0.0)
        best_Q = np.zeros(self.list_B[-1] + 1)
        np.maximum.at(best_Q, self.list_B, found_B)
        return 100 * best_Q

    def part(self, chosen: np.ndarray, size: int) -> ListSet:
        """Give the first stage's first candidates of some lists, numbered anew."""
        rows = np.flatnonzero(np.isin(self.list_B, chosen) & (self.place_B < size))
        list_B = np.unique(self.list_B[rows], return_inverse=True)[1]
        grade_B = None if self.grade_B is None else self.grade_B[rows]
        models = {name: model.part(rows) for name, model in self.models.items()}
        return ListSet(list_B, self.tokens_B[rows], grade_B, models, self.keep)


@dataclass(frozen=True)
class Ran:
    """Lists as they were ordered, and the FLOPs of each pair."""

    order: Reranked
    flops_B: np.ndarray


@dataclass(frozen=True)
class Pairs:
    """Tokens of one list's pairs, as the model and the small one read them."""

    full: list[TokenWindow]
    small: list[TokenWindow]


@dataclass(frozen=True)
class ListModels:
    """Encoders by dtype, and the small one; `batch_of` makes a batch of tokens. keep: candidates of
    a list that are returned."""

    keep: int
    encoders: Mapping[str, AdaptiveEncoder]
    batch_of: Callable[[list[TokenWindow]], Batch]

    def ordered(self, model: str, windows: list[TokenWindow], schedule: ListSchedule) -> Trace:
        """Run one list by a schedule; an empty one drops nobody."""
        list_B = np.zeros(len(windows), int)
        return rerank(self.encoders[model], self.batch_of(windows), list_B, schedule)


class Strategy(ABC):
    """Order of lists for less than all layers of all candidates."""

    @abstractmethod
    def ran(self, lists: ListSet) -> Ran:
        """Say from the scores what comes of it."""

    @abstractmethod
    def run(self, models: ListModels, pairs: Pairs) -> Trace:
        """Run it on one list, to be timed."""


@dataclass(frozen=True)
class Scheduled(Strategy):
    """Candidates leave as a schedule says; an empty one drops nobody."""

    model: str
    schedule: ListSchedule

    def __str__(self) -> str:
        return ", ".join(f"{count} behind {depth}" for depth, count in self.schedule.counts.items())

    def ran(self, lists: ListSet) -> Ran:
        scored, rows = lists.models[self.model], np.arange(len(lists.list_B))
        order = self.schedule.replayed(scored.score_DB, lists.list_B)
        spent_B = scored.layer_DB[order.depth_B, rows]
        for depth in self.schedule.counts:
            spent_B = spent_B + scored.head_DB[depth] * (order.depth_B >= depth)
        return Ran(order, spent_B)

    def run(self, models: ListModels, pairs: Pairs) -> Trace:
        windows = pairs.small if self.model == SMALL else pairs.full
        return models.ordered(self.model, windows, self.schedule)


@dataclass(frozen=True)
class Cut(Strategy):
    """A share of the first stage's best goes through some layers, and no one else through any."""

    share: float
    depth: int

    def __str__(self) -> str:
        return f"{100 * self.share:g} % of the candidates, {self.depth} layers"

    def ran(self, lists: ListSet) -> Ran:
        scored, depth = lists.models[FULL], self.depth
        first_B = lists.place_B < count(self.share, lists.size_B, lists.keep)
        depth_B = np.where(first_B, depth, -1)  # the others stand behind, as they stood
        score_B = np.where(first_B, scored.score_DB[depth], -lists.place_B)
        spent_B = scored.layer_DB[depth] + scored.head_DB[depth]
        return Ran(Reranked(score_B, depth_B, lists.list_B), spent_B * first_B)

    def run(self, models: ListModels, pairs: Pairs) -> Trace:
        encoder = models.encoders[FULL].replacing(exit=Fixed(self.depth))
        return encoder(
            models.batch_of(pairs.full[: int(count(self.share, len(pairs.full), models.keep))])
        )


@dataclass(frozen=True)
class Cascade(Strategy):
    """The small model orders all, and the whole one a share of its best."""

    share: float

    def __str__(self) -> str:
        return f"{100 * self.share:g} % of the candidates go on"

    def ran(self, lists: ListSet) -> Ran:
        small, full = lists.models[SMALL], lists.models[FULL]
        place_B = places(-small.score_DB[-1], lists.list_B)
        first_B = place_B < count(self.share, lists.size_B, lists.keep)
        score_B = np.where(first_B, full.score_DB[-1], small.score_DB[-1])
        order = Reranked(score_B, first_B.astype(int), lists.list_B)
        return Ran(order, small.layer_DB[-1] + full.layer_DB[-1] * first_B)

    def run(self, models: ListModels, pairs: Pairs) -> Trace:
        whole = ListSchedule({})
        score_B = models.ordered(SMALL, pairs.small, whole).logits_BC[:, 0].float().numpy()
        best = np.argsort(-score_B, kind="stable")[
            : int(count(self.share, len(score_B), models.keep))
        ]
        return models.ordered(FULL, [pairs.full[row] for row in best], whole)


def count(share: float, size: Any, keep: int) -> Any:
    """So many of a list's candidates, and no fewer than are kept."""
    return np.maximum(keep, np.ceil(share * size))
