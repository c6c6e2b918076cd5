"""Rows of rerankers, from a cross-encoder that plain transformers has tuned.

    python -m experiments.lists.run tune body=FOLDER data=FOLDER to=MODEL
    python -m experiments.lists.run ways model=MODEL data=FOLDER to=FOLDER
    python -m experiments.lists.run queries data=FOLDER to=lists.jsonl lists=800
    python -m experiments.lists.run keep run=ADAPTED

page.md has the whole sequence. `ways` replays everything at equal cost; the commands of `eat` there
are those of a user, and are timed.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch

from eat_lightning.bundle.adapted import AboutLists, own_certificate
from eat_lightning.bundle.bundle import Bundle
from eat_lightning.errors import reported
from eat_lightning.evaluation.lists import ROWS, ListRow
from eat_lightning.report import result
from eat_lightning.report.intervals import Interval
from eat_lightning.report.result import Result
from eat_lightning.runs import jsonl
from experiments.lists.cross_encoder import tune
from experiments.lists.data import CANDIDATES, qnli
from experiments.lists.ways import results_of
from experiments.study import run_step

RESULTS = Path(__file__).with_name("results")
IDENTITY = ("strategy", "dtype", "size", "queries")
CONDITIONS = ("keep", "num_lists", "timed_lists", "repeats", "threads", "machine", "commit")


def queries(
    data: str, to: str, lists: int = 800, skip: int = 0, candidates: int = CANDIDATES
) -> None:
    """Write QNLI's dev questions, which tuning has not seen, with BM25's best sentences."""
    some = qnli(Path(data), "validation", skip + lists, candidates)
    some.part(np.arange(skip, len(some))).write(Path(to))


def keep(run: str) -> None:
    """Keep what `eat adapt` certified, and what `eat measure` found beside it."""
    result.update(RESULTS / "adapted.jsonl", [certified(Path(run))])
    result.update(RESULTS / "beside.jsonl", map(beside, jsonl.read(Path(run, ROWS), ListRow)))


def certified(folder: Path) -> Result:
    about = AboutLists.read(folder)
    made = own_certificate(Bundle(folder), about.point)
    claim, seen = made.claim, made.seen
    agree = round(1 - claim.level, 12)
    what = {"data": "qnli", "keep": about.keep, "agree": agree, "dtype": about.point.dtype}
    values = {name: seen[name] for name in ("lost", "swapped", "swapped_at_most", "cost")}
    values |= {f"{name.replace(' ', '_')}_ms": ms for name, ms in seen["ms"].items()}
    where = {"lists": seen["num_lists"], "confidence": claim.confidence}
    where |= {"promise": made.guarantee, "max_length": about.max_length}
    where |= {"machine": made.holds_for["machine"]["processor"], "torch": made.holds_for["torch"]}
    return Result(what, values | {"counts": about.point.counts}, where)


def beside(row: ListRow) -> Result:
    fields = jsonl.fields_of(row)
    what, where = ({name: fields.pop(name) for name in some} for some in (IDENTITY, CONDITIONS))
    more = Interval(*(fields.pop(name) for name in ("more", "low", "high")))
    return Result(what, fields | {"more": more}, where)


def ways(model: str, data: str, to: str) -> None:
    result.update(RESULTS / "ways.jsonl", results_of(model, data, Path(to)))


if __name__ == "__main__":
    with reported():
        torch.set_num_threads(1)
        run_step(sys.argv[1:], tune, ways, queries, keep)
