"""Ways to spend less on lists, replayed at equal cost from one pass's vectors.

Heads of every depth learn the cross-encoder's scores on the lists of `learn`, without a label; the
points of every way are chosen on `select` and judged on `test`. TREC's learning queries (2019 and
2020) are cut in two parts. Cost: tokens times layers over those of all candidates at full depth;
heads are left out.

Shapes: Q lists, N candidates of each, E depths (the last: all layers), B = Q N, W width, R of the
features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from eat_lightning.deploy.adapt.list_schedule import chain
from eat_lightning.infer.list_record import ListRecord
from eat_lightning.infer.rerank import ListSchedule, Reranked, places
from eat_lightning.report.intervals import Interval, paired_difference
from eat_lightning.report.result import Result
from eat_lightning.train.one_pass import one_cycle
from experiments.lists.data import ndcg

WIDTH, EPOCHS, LR, DECAY, DROPOUT, LISTS = 256, 12, 1e-3, 0.05, 0.1, 4
KEEP = 10
SIZES = (10, 12, 15, 20, 25, 30, 40, 50, 60, 70, 80, 100)
COSTS = (0.2, 0.3, 0.4, 0.45, 0.5, 0.6, 0.7)


@dataclass(frozen=True)
class KeptLists:
    """Vectors of some lists (see `cross_encoder.keep_vectors`), (lists, candidates) of the rest."""

    F: np.ndarray
    score: np.ndarray
    tokens: np.ndarray
    prior: np.ndarray
    grade: np.ndarray

    @classmethod
    def read(cls, path: Path) -> KeptLists:
        with np.load(path) as kept:
            return cls(*(kept[field.name] for field in fields(cls)))

    def __len__(self) -> int:
        return len(self.score)

    def part(self, rows: np.ndarray) -> KeptLists:
        return KeptLists(*(getattr(self, field.name)[rows] for field in fields(self)))

    def features(self, rows: np.ndarray) -> Tensor:
        """[u, v, |u - v|, u * v] of query and passage, and the first stage's score as a z-score of
        its list (Q x N x E x R)."""
        u, v = torch.from_numpy(self.F[rows]).float().unbind(3)
        u, v = F.layer_norm(u, u.shape[-1:]), F.layer_norm(v, v.shape[-1:])
        prior = torch.from_numpy(self.prior[rows]).float()
        prior = (prior - prior.mean(1, keepdim=True)) / (prior.std(1, keepdim=True) + 1e-6)
        prior_QNE1 = prior[:, :, None, None].expand(*u.shape[:3], 1)
        return torch.cat([u, v, (u - v).abs(), u * v, prior_QNE1], -1)


class ListHeads(nn.Module):
    """Dense, tanh, one score at each depth."""

    def __init__(self, depths: int, width: int):
        super().__init__()
        self.dense_ERW = nn.Parameter(torch.randn(depths, width, WIDTH) * width**-0.5)
        self.dense_EW = nn.Parameter(torch.zeros(depths, WIDTH))
        self.out_EW = nn.Parameter(torch.randn(depths, WIDTH) * 0.1 * WIDTH**-0.5)
        self.out_E = nn.Parameter(torch.zeros(depths))

    def forward(self, read: Tensor) -> Tensor:
        read = F.dropout(read, DROPOUT, self.training)
        hidden = torch.tanh(torch.einsum("qner,erw->qnew", read, self.dense_ERW) + self.dense_EW)
        hidden = F.dropout(hidden, DROPOUT, self.training)
        return torch.einsum("qnew,ew->qne", hidden, self.out_EW) + self.out_E


def trained(kept: KeptLists) -> ListHeads:
    """Heads that learned the standardised score by its squared error."""
    torch.manual_seed(0)
    goal_QN = torch.from_numpy((kept.score - kept.score.mean()) / kept.score.std())
    heads = ListHeads(kept.F.shape[2], 4 * kept.F.shape[-1] + 1)
    optimizer = torch.optim.AdamW(heads.parameters(), lr=LR, weight_decay=DECAY)
    steps = EPOCHS * (len(kept) // LISTS)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda k: one_cycle(k, steps))
    for epoch in range(EPOCHS):
        order = np.random.default_rng(epoch).permutation(len(kept))
        for start in range(0, len(order) - LISTS + 1, LISTS):
            rows = order[start : start + LISTS]
            guess = heads(kept.features(rows))
            loss = F.mse_loss(guess, goal_QN[rows][:, :, None].expand_as(guess))
            optimizer.zero_grad()
            (loss * guess.shape[-1]).backward()
            optimizer.step()
            schedule.step()
    return heads.eval()


def scores(heads: ListHeads, kept: KeptLists) -> np.ndarray:
    """Scores of every depth, the model's own last (E + 1 x Q N)."""
    with torch.no_grad():
        found = torch.cat([heads(kept.features(np.array([row]))) for row in range(len(kept))])
    early = found.permute(2, 0, 1).numpy()
    return np.concatenate([early, kept.score[None]]).reshape(len(early) + 1, -1)


@dataclass(frozen=True)
class JudgedLists:
    """Test or select: scores of all depths, and judgements."""

    record: ListRecord
    grade_QN: np.ndarray

    @classmethod
    def of(cls, kept: KeptLists, score_EB: np.ndarray) -> JudgedLists:
        list_B = np.repeat(np.arange(len(kept)), kept.score.shape[1])
        flat = score_EB, kept.score.ravel(), kept.tokens.ravel(), list_B
        return cls(ListRecord(*flat, KEEP), kept.grade)

    @property
    def last(self) -> int:
        return len(self.record.score_DB) - 1

    def first_stage(self) -> Reranked:
        list_B = self.record.list_B
        return Reranked(-places(np.arange(len(list_B)), list_B), np.zeros_like(list_B), list_B)

    def cut(self, size: int, depth: int) -> Reranked:
        """Take the first stage's best through some layers, and no one else through any."""
        record = self.record
        first_B = np.arange(len(record.list_B)) % self.grade_QN.shape[1] < size
        depth_B = np.where(first_B, depth, -1)  # the others stand behind
        score_B = np.where(first_B, record.score_DB[depth], -np.arange(len(first_B)))
        return Reranked(score_B, depth_B, record.list_B)

    def cost(self, found: Reranked) -> float:
        return self.record.cost(replace(found, depth_B=np.maximum(found.depth_B, 0)))

    def kept_Q(self, found: Reranked) -> np.ndarray:
        return 100 * (1 - self.record.lost_Q(found))

    def result(self, what: dict[str, Any], point: str, found: Reranked, beside: Reranked) -> Result:
        """The row of a way at one point.

        kept: percent of the original's ten best among the ten returned; more: minus what another
        way keeps; in_30: among the first thirty; ndcg: of the judgements, times 100.
        """
        kept_Q, wanted_B = self.kept_Q(found), self.record.wanted_B
        more = paired_difference(kept_Q, self.kept_Q(beside))
        order_QN = np.argsort(found.place_B.reshape(self.grade_QN.shape), 1)
        in_30 = (wanted_B & (found.place_B < 30)).sum() / wanted_B.sum()
        values = {
            "point": point,
            "cost": round(self.cost(found), 4),
            "kept": round(float(kept_Q.mean()), 2),
            "more": Interval(*(round(x, 2) for x in (more.value, more.low, more.high))),
            "ndcg": round(100 * float(ndcg(order_QN, self.grade_QN).mean()), 2),
            "in_30": round(100 * float(in_30), 2),
        }
        return Result(what, values, {"num_lists": len(kept_Q), "heads": "mse"})


Way = Callable[[JudgedLists], Reranked]


def points_of(select: JudgedLists) -> dict[str, list[tuple[str, Way]]]:
    """The points of every way, as they follow from *select*."""

    def cut_at(size: int, depth: int) -> Way:
        return lambda lists: lists.cut(size, depth)

    def scheduled(schedule: ListSchedule) -> Way:
        return lambda lists: schedule.replayed(lists.record.score_DB, lists.record.list_B)

    sizes = product(SIZES, range(select.last + 1))
    return {
        "grid": [(f"{n} candidates, {d} layers", cut_at(n, d)) for n, d in sizes],
        "schedule": [(str(dict(s.counts)), scheduled(s)) for s in chain(select.record)],
    }


def best_at(points: Sequence[tuple[str, Way]], select: JudgedLists, cost: float) -> tuple[str, Way]:
    """The point that keeps most on *select* at a cost of at most so much; else the cheapest."""
    found = [(name, way, way(select)) for name, way in points]
    able = [each for each in found if select.cost(each[2]) <= cost]
    cheapest = min(found, key=lambda each: select.cost(each[2]))
    best = max(able, key=lambda each: float(select.kept_Q(each[2]).mean()), default=cheapest)
    return best[0], best[1]


def results_of(data: str, select: JudgedLists, test: JudgedLists) -> Iterator[Result]:
    """Rows of everything that was ordered by one depth, and of each way at each cost."""
    first = test.first_stage()
    yield test.result({"data": data, "way": "first stage", "asked": 0.0}, "", first, first)
    for depth in range(test.last + 1):
        what = {"data": data, "way": f"depth {depth}", "asked": 0.0}
        yield test.result(what, "", test.cut(test.grade_QN.shape[1], depth), first)
    points = points_of(select)
    for asked in COSTS:
        beside = best_at(points["grid"], select, asked)[1](test)
        for way, of_way in points.items():
            point, at = best_at(of_way, select, asked)
            yield test.result({"data": data, "way": way, "asked": asked}, point, at(test), beside)


def ways(vectors: str) -> Iterator[Result]:
    """Learn heads on the vectors of a folder, and judge every way."""
    kept = {path.stem: KeptLists.read(path) for path in Path(vectors).glob("*.npz")}
    order = np.random.default_rng(0).permutation(len(kept["trec_learn"]))
    trec = [kept["trec_learn"].part(rows) for rows in (order[32:], order[:32])]
    sets = {
        "qnli": (kept["learn"], kept["select"], kept["test"]),
        "trec": (*trec, kept["trec_test"]),
    }
    for data, (learn, *judged) in sets.items():
        heads = trained(learn)
        yield from results_of(data, *(JudgedLists.of(some, scores(heads, some)) for some in judged))
