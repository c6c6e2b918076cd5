"""Does dropping candidates between layers beat fewer candidates and fewer layers?

    python -m experiments.lists vectors=FOLDER    # learns heads, adds rows
    python -m experiments.lists                   # the tables of the kept rows

Heads learn on the lists of `learn`; the static grid's points, schedules and gaps are chosen on
`select` and judged on `test`. TREC's learning queries (2019 and 2020) are cut in three parts. Cost:
tokens times layers over those of all candidates at full depth; heads are left out.

Shapes: Q lists, N candidates of each, E depths (the last: all layers), B = Q N.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from pandas import DataFrame

from eat_lightning.deploy.adapt.list_schedule import chain
from eat_lightning.engines.reranker import AboutLists
from eat_lightning.errors import reported
from eat_lightning.methods.exit.never import Never
from eat_lightning.model.trace import Trace
from eat_lightning.record.list_losses import layers_share, lost_Q
from eat_lightning.record.list_schedule import ListSchedule, places, ranks
from eat_lightning.record.record import Record
from eat_lightning.report.intervals import paired_difference
from eat_lightning.runs import jsonl
from eat_lightning.weights.untrusted import json_of
from experiments.bench.tables import markdown
from experiments.lists.data import ndcg
from experiments.lists.heads import KeptLists, scores, trained

ROWS = Path(__file__).parent / "results" / "rows.jsonl"
KEEP = 10
SIZES = (10, 12, 15, 20, 25, 30, 40, 50, 60, 70, 80, 100)
COSTS = (0.2, 0.3, 0.4, 0.45, 0.5, 0.6, 0.7)
SHOWN = (0.3, 0.45, 0.6)  # costs of the page's tables
NAMES = {"qnli": "QNLI", "trec": "TREC 2021"}
SHOWN_HEADS, BOTH = "mse", "mse+order"  # `eat adapt` learns by squared error
LOST = (0.3, 0.25, 0.2, 0.15, 0.1, 0.07, 0.05, 0.03, 0.02, 0.01, 0.005)


@dataclass(frozen=True)
class ListRow:
    """A way to spend less, at one cost that was asked for.

    Args:
        data: qnli or trec.
        heads: what they learned by: mse, or mse+order.
        way: grid, schedule, gap; first stage, or depth K: everything is ordered there.
        asked: the cost; 0: none was asked for.
        point: as it was chosen.
        cost: on the test lists.
        kept: percent of the original's ten best that are among the ten returned.
        more, low, high: kept minus the grid's at this asked cost, with its paired 95 % interval.
        ndcg: of the judgements, times 100.
        in_30: percent of the original's ten best among the first thirty.
        num_lists: of the test.
    """

    data: str
    heads: str
    way: str
    asked: float
    point: str
    cost: float
    kept: float
    more: float
    low: float
    high: float
    ndcg: float
    in_30: float
    num_lists: int

    @property
    def key(self) -> tuple[str, str, str, float]:
        return self.data, self.heads, self.way, self.asked


@dataclass(frozen=True)
class Lists:
    """Test or select: scores of all depths, and judgements."""

    record: Record
    grade_QN: np.ndarray

    @classmethod
    def of(cls, kept: KeptLists, score_EB: np.ndarray) -> Lists:
        list_B = np.repeat(np.arange(len(kept)), kept.score.shape[1])
        guesses = {depth: score_B[:, None] for depth, score_B in enumerate(score_EB)}
        lengths = kept.tokens.ravel()
        tokens_LB = np.repeat(lengths[None], len(guesses) - 1, axis=0)
        flat = kept.score.ravel(), lengths, guesses, tokens_LB
        return cls(Record(*flat, Never(), group_B=list_B, keep=KEEP), kept.grade)

    @property
    def last(self) -> int:
        return len(self.record.tokens_LB)

    @property
    def list_B(self) -> np.ndarray:
        assert self.record.group_B is not None
        return self.record.group_B

    @property
    def score_DB(self) -> np.ndarray:
        return np.stack([guess_BC[:, 0] for guess_BC in self.record.guesses.values()])

    def cut(self, size: int, depth: int) -> Trace:
        """Take the first stage's best through some layers, and no one else through any."""
        first_B = np.arange(len(self.list_B)) % self.grade_QN.shape[1] < size
        depth_B = np.where(first_B, depth, -1)  # the others stand behind
        score_B = np.where(first_B, self.score_DB[depth], -np.arange(len(first_B)))
        return Trace(score_B[:, None], depth_B)

    def cost(self, found: Trace) -> float:
        ran = replace(found, depth_B=np.maximum(found.depth_B, 0))
        return layers_share(self.record, ran)

    def kept_Q(self, found: Trace) -> np.ndarray:
        return 100 * (1 - lost_Q(self.record, found))

    def ndcg(self, found: Trace) -> float:
        order_QN = np.argsort(ranks(found, self.list_B).reshape(self.grade_QN.shape), 1)
        return 100 * float(ndcg(order_QN, self.grade_QN).mean())

    def by_gap(self, gap_E: np.ndarray) -> Trace:
        """Drop who lies further than a gap below the tenth best of those still there."""
        size, score_DB = len(self.list_B), self.score_DB
        here_B, depth_B = np.ones(size, bool), np.full(size, self.last)
        for depth in range(self.last):
            score_B = np.where(here_B, score_DB[depth], -np.inf)
            stays_B = here_B & (score_B >= self.tenth(score_B) - gap_E[depth])
            depth_B[here_B & ~stays_B] = depth
            here_B = stays_B
        return Trace(score_DB[depth_B, np.arange(size)][:, None], depth_B)

    def tenth(self, score_B: np.ndarray) -> np.ndarray:
        """The tenth best score of each candidate's list."""
        score_QN: Any = score_B.reshape(self.grade_QN.shape)
        return np.repeat(-np.sort(-score_QN, 1)[:, KEEP - 1], score_QN.shape[1])

    def gaps(self, lost: float) -> np.ndarray:
        """The gap below the tenth best that loses this share of the wanted, at each depth."""
        record = self.record
        below = [(self.tenth(x_B) - x_B)[record.wanted_B] for x_B in self.score_DB[:-1]]
        return np.maximum(0, np.quantile(below, 1 - lost, axis=1))


Way = Callable[[Lists], Trace]


def ways(select: Lists) -> dict[str, list[tuple[str, Way]]]:
    """The points of every way, as they follow from *select*."""

    def cut_at(size: int, depth: int) -> Way:
        return lambda lists: lists.cut(size, depth)

    def scheduled(schedule: ListSchedule) -> Way:
        return lambda lists: lists.record.replay(schedule)

    def gap_at(lost: float) -> Way:
        gap_E = select.gaps(lost)
        return lambda lists: lists.by_gap(gap_E)

    schedules = chain(select.record)
    sizes = product(SIZES, range(select.last + 1))
    return {
        "grid": [(f"{n} candidates, {d} layers", cut_at(n, d)) for n, d in sizes],
        "schedule": [(str(dict(s.counts)), scheduled(s)) for s in schedules],
        "gap": [(f"{lost:g} lost at each depth", gap_at(lost)) for lost in LOST],
    }


def best_at(points: Sequence[tuple[str, Way]], select: Lists, cost: float) -> tuple[str, Way]:
    """The point that keeps most on *select* at a cost of at most so much; else the cheapest."""
    found = [(name, way, way(select)) for name, way in points]
    able = [each for each in found if select.cost(each[2]) <= cost]
    cheapest = min(found, key=lambda each: select.cost(each[2]))
    best = max(able, key=lambda each: float(select.kept_Q(each[2]).mean()), default=cheapest)
    return best[0], best[1]


def rows_of(data: str, heads: str, select: Lists, test: Lists) -> Iterator[ListRow]:
    """Rows of everything that was ordered by one depth, and of each way at each cost."""

    def row(way: str, asked: float, point: str, found: Trace, beside: Trace) -> ListRow:
        kept_Q = test.kept_Q(found)
        more = paired_difference(kept_Q, test.kept_Q(beside))
        in_30 = test.record.wanted_B & (ranks(found, test.list_B) < 30)
        return ListRow(
            *(data, heads, way, asked, point, round(test.cost(found), 4)),
            kept=round(float(kept_Q.mean()), 2),
            more=round(more.value, 2),
            low=round(more.low, 2),
            high=round(more.high, 2),
            ndcg=round(test.ndcg(found), 2),
            in_30=round(100 * float(in_30.sum() / test.record.wanted_B.sum()), 2),
            num_lists=len(test.grade_QN),
        )

    prior_B = places(np.arange(len(test.list_B)), test.list_B)
    by_prior = Trace(-prior_B[:, None], np.zeros(len(prior_B), int))
    yield row("first stage", 0.0, "", by_prior, by_prior)
    for depth in range(test.last + 1):
        yield row(f"depth {depth}", 0.0, "", test.cut(test.grade_QN.shape[1], depth), by_prior)
    points = ways(select)
    for asked in COSTS:
        beside = best_at(points["grid"], select, asked)[1](test)
        for way, of_way in points.items():
            point, at = best_at(of_way, select, asked)
            yield row(way, asked, point, at(test), beside)


def sets(folder: Path) -> Iterator[tuple[str, KeptLists, KeptLists, KeptLists]]:
    """Data by name: lists to learn on, to choose on and to judge on."""
    learn = KeptLists.read(folder / "learn.npz")
    select, test = KeptLists.read(folder / "select.npz"), KeptLists.read(folder / "test.npz")
    yield "qnli", learn, select, test
    some = KeptLists.read(folder / "trec_learn.npz")
    test = KeptLists.read(folder / "trec_test.npz")
    order = np.random.default_rng(0).permutation(len(some))
    yield "trec", some.part(order[32:]), some.part(order[:32]), test


def of_depths(rows: Sequence[ListRow]) -> str:
    """Table of everything that was ordered by one depth."""
    lines = [
        {
            **{"lists of": NAMES[row.data], "ordered by": row.way, "NDCG@10": f"{row.ndcg:.1f}"},
            "original's best ten within 10": f"{row.kept:.1f} %",
            "within 30": f"{row.in_30:.1f} %",
        }
        for row in rows
        if not row.asked and row.heads == SHOWN_HEADS
    ]
    return markdown(DataFrame(lines))


def of_ways(rows: Sequence[ListRow]) -> str:
    """Table of each way at some of the costs."""
    lines = [
        {
            **{"lists of": NAMES[row.data], "asked": f"{row.asked:.2f}", "way": row.way},
            **{"cost": f"{row.cost:.3f}", "best ten kept": f"{row.kept:.1f} %"},
            "minus the grid's": f"{row.more:+.1f} ({row.low:+.1f} to {row.high:+.1f})",
            "NDCG@10": f"{row.ndcg:.1f}",
        }
        for row in rows
        if row.asked in SHOWN and row.heads == SHOWN_HEADS
    ]
    return markdown(DataFrame(lines))


def of_heads(rows: Sequence[ListRow]) -> str:
    """Table of what heads learn by, under schedules."""
    kept = {(row.data, row.asked, row.heads): row.kept for row in rows if row.way == "schedule"}
    lines = [
        {
            **{"lists of": NAMES[data], "asked": f"{asked:.2f}"},
            "squared error": f"{kept[data, asked, 'mse']:.1f} %",
            "and order in the list": f"{kept[data, asked, BOTH]:.1f} %",
        }
        for data, asked in dict.fromkeys((row.data, row.asked) for row in rows)
        if asked in SHOWN
    ]
    return markdown(DataFrame(lines))


def adapted() -> AboutLists:
    """Read what `eat adapt queries=` wrote beside the weights, kept."""
    return AboutLists(**json_of(ROWS.with_name("adapted.json")))


def of_adapted(about: AboutLists) -> str:
    """Table of what `eat adapt queries=` made."""
    made = about.certificate
    lines = [
        {
            "promise": f"at most {100 * (1 - made['agree']):.0f} % of the best {about.keep} lost",
            "lost": f"{100 * made['lost']:.2f} % of {made['lists']} lists",
            "pairs swapped": f"{100 * made['swapped']:.2f} %",
            "cost": f"{made['cost']:.3f}",
            "transformers, ms": f"{made['ms']['transformers']:.0f}",
            f"our kernels, all layers, {about.dtype}": f"{made['ms']['all layers']:.0f}",
            f"schedule, {about.dtype}": f"{made['ms']['lists']:.0f}",
            "times HF": f"{made['ms']['transformers'] / made['ms']['lists']:.1f}",
        }
    ]
    return markdown(DataFrame(lines))


def main(vectors: str | None = None) -> None:
    rows = jsonl.read(ROWS, ListRow)
    for data, learn, select, test in sets(Path(vectors)) if vectors else ():
        for by_order in (False, True):
            heads = trained(learn, by_order)
            on = [Lists.of(kept, scores(heads, kept)) for kept in (select, test)]
            found = list(rows_of(data, "mse+order" if by_order else "mse", *on))
            rows = jsonl.update(ROWS, ListRow, found)
    tables = of_depths(rows), of_ways(rows), of_heads(rows), of_adapted(adapted())
    print(*tables, sep="\n\n")


if __name__ == "__main__":
    with reported():
        main(**dict(word.split("=", 1) for word in sys.argv[1:]))
