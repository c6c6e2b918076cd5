"""Ways to spend less on lists, replayed at equal cost from one pass.

Heads of every depth learn the cross-encoder's scores as `eat rerank` trains them, without a
label. Schedules and the best of fewer candidates and layers are chosen on some lists and judged on
others. Cost: FLOPs over those of all candidates at full depth, heads included. The original is our
own full depth in bf16.

Shapes: Q lists, N candidates of each, B = Q N, D depths (the last: all layers).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from eat_lightning.bundle.kernels import in_kernels
from eat_lightning.bundle.original import Original
from eat_lightning.bundle.reranker import COLUMNS
from eat_lightning.config import CONFIG_DIR, parsed
from eat_lightning.data.unlabelled import Texts
from eat_lightning.deploy.adapt.exits import learn_exits
from eat_lightning.deploy.adapt.run import splits_of
from eat_lightning.evaluation.list_strategies import (
    FULL,
    Cut,
    DepthCosts,
    ListBench,
    Scheduled,
    Strategy,
)
from eat_lightning.evaluation.lists import SHARES, best
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.trace import Trace
from eat_lightning.record.list_fit import fit_lists
from eat_lightning.record.passes import record
from eat_lightning.report.intervals import paired_difference
from eat_lightning.report.result import Result
from eat_lightning.runs.plan import HeadSettings
from eat_lightning.runs.run import git_commit
from experiments.lists.cross_encoder import LENGTH, QUERIES
from experiments.lists.data import Lists, deep_learning, qnli

KEEP, DTYPE = 10, "bf16"
COSTS = (0.2, 0.3, 0.4, 0.45, 0.5, 0.6, 0.7)


def results_of(model: str, data: str, work: Path) -> Iterator[Result]:
    """Rows of QNLI and of TREC. work: a folder for vectors and heads."""
    original = Original.open(model, LENGTH, lists=True)
    config = yaml.safe_load(Path(CONFIG_DIR, "rerank.yaml").read_text("utf-8"))
    heads = parsed(HeadSettings, config["heads"])
    for name, parts in parts_of(Path(data)).items():
        folder = work / name
        folder.mkdir(parents=True, exist_ok=True)
        splits = split_lists(parts, original, folder)
        encoder = original.encoder(len(COLUMNS))
        learn_exits(encoder, splits, heads, folder, config["least_steps"])
        select, test = (judged(parts[p], splits[p], encoder) for p in ("select", "test"))
        yield from rows_of(name, select, test)


def parts_of(data: Path) -> dict[str, dict[str, Lists]]:
    """Lists to learn on, to choose on and to judge on, which tuning has not seen but for TREC's of
    2019 and 2020."""
    squad = qnli(data, "train", 6000)
    unseen = squad.part(np.arange(QUERIES, len(squad)))
    known = deep_learning(data, (2019, 2020))
    order = np.random.default_rng(0).permutation(len(known))
    return {
        "qnli": {
            "learn": unseen.part(np.arange(160)),
            "select": unseen.part(np.arange(len(unseen) - 100, len(unseen))),
            "test": qnli(data, "validation", 200),
        },
        "trec": {
            "learn": known.part(order[32:]),
            "select": known.part(order[:32]),
            "test": deep_learning(data, (2021,)),
        },
    }


def split_lists(parts: Mapping[str, Lists], original: Original, folder: Path) -> dict[str, Any]:
    """Tokenize all pairs of each part, list after list."""
    pairs = {part: lists.pairs for part, lists in parts.items()}
    ends = np.cumsum([len(some) for some in pairs.values()])
    rows = dict(zip(pairs, np.split(np.arange(ends[-1]), ends[:-1]), strict=True))
    texts = Texts([pair for some in pairs.values() for pair in some], COLUMNS, "")
    return splits_of(texts, rows, original, folder)


def judged(lists: Lists, split: Any, encoder: AdaptiveEncoder) -> ListBench:
    """Scores of all depths, and judgements."""
    found = record(in_kernels(encoder, DTYPE), split, title=f"{len(lists)} lists")
    list_B = np.repeat(np.arange(len(lists)), lists.grade_QN.shape[1])
    score_B = found.guesses[encoder.shape.num_layers][:, 0]
    found = replace(found, labels=score_B, group_B=list_B, keep=KEEP)
    costs = DepthCosts.of(encoder, found.lengths)
    return ListBench({FULL: found}, {FULL: costs}, lists.grade_QN.ravel())


def rows_of(data: str, select: ListBench, test: ListBench) -> Iterator[Result]:
    """Rows of everything that was ordered by one depth, and of each way at each cost."""
    last = len(test.records[FULL].tokens_LB)
    none_B = np.zeros(len(test.list_B), int)
    first = Trace(-test.place_B[:, None], none_B, flops_B=none_B)
    yield row_of(test, {"data": data, "way": "first stage", "asked": 0.0}, "", first, first)
    for depth in range(last + 1):
        what = {"data": data, "way": f"depth {depth}", "asked": 0.0}
        yield row_of(test, what, "", Cut(1.0, depth).replay(test), first)
    points: dict[str, list[Strategy]] = {
        "grid": [Cut(*point) for point in product(SHARES, range(last + 1))],
        "schedule": [Scheduled(each.point) for each in fit_lists(select.records[FULL]).points[1:]],
    }
    for asked in COSTS:
        beside = best(points["grid"], select, asked).replay(test)
        for way, strategies in points.items():
            chosen = best(strategies, select, asked)
            what = {"data": data, "way": way, "asked": asked}
            yield row_of(test, what, str(chosen), chosen.replay(test), beside)


def row_of(
    test: ListBench, what: dict[str, Any], point: str, trace: Trace, beside: Trace
) -> Result:
    """The row of a way at one point.

    kept: percent of the original's ten best among the ten returned; more: minus what another way
    keeps; ndcg: of the judgements, times 100.
    """
    kept_Q = test.kept_Q(trace)
    values = {
        "point": point,
        "cost": test.cost(trace),
        "kept": float(kept_Q.mean()),
        "more": paired_difference(kept_Q, test.kept_Q(beside)),
        "ndcg": float(test.ndcg_Q(trace).mean()),
        "ndcg_more": paired_difference(test.ndcg_Q(trace), test.ndcg_Q(beside)),
    }
    return Result(what, values, {"num_lists": len(kept_Q), "dtype": DTYPE, "commit": git_commit()})
