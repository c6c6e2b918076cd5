"""Static engines on lists, beside a cross-encoder that `eat adapt queries=` wrote.

    python -m experiments.lists.engines model=FOLDER run=FOLDER queries=FILE.jsonl scratch=FOLDER
    python -m experiments.lists.engines      # the table of the kept rows

Every form orders all candidates of each list by all layers, in onnxruntime, OpenVINO or our
kernels; the schedule runs in the dtype that it was certified in. All are compared with
transformers' own order in fp32.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pandas import DataFrame

from eat_lightning.data.query_lists import read_query_lists
from eat_lightning.deploy.adapt.forms import Form, Forms, scratch_run
from eat_lightning.deploy.adapt.lists import COLUMNS, QueryLists
from eat_lightning.deploy.adapt.original import Original
from eat_lightning.deploy.adapt.run import splits_of
from eat_lightning.engines.reranker import AboutLists, open_lists
from eat_lightning.errors import reported
from eat_lightning.infer.latency import keep_kernels, time_interleaved, undisturbed
from eat_lightning.infer.list_record import ListRecord
from eat_lightning.infer.rerank import Reranked, rerank
from eat_lightning.report.statistics import mean_interval
from eat_lightning.runs import jsonl
from eat_lightning.runs.run import processor
from experiments.bench.tables import markdown

ROWS = Path(__file__).parent / "results" / "engines.jsonl"
SIZE, TIMED, REPEATS, THREADS = 100, 5, 3, 1
ENGINES = ["onnx", "openvino"]


@dataclass(frozen=True)
class EngineRow:
    """A form on lists of one size.

    Args:
        kept, low, high: percent of the original's best that are returned, and its 95 % bootstrap
            interval over lists.
        ms: of a list, in median over timed lists of the mean over repeats.
    """

    form: str
    size: int
    kept: float
    low: float
    high: float
    num_lists: int
    ms: float
    timed_lists: int
    repeats: int
    threads: int
    machine: str


@dataclass(frozen=True)
class Runner:
    """A form ready to run: from what `ready` makes of a batch to an output, and its order."""

    run: Callable[[Any], Any]
    ready: Callable[[Any], Any]
    order: Callable[[Any], Reranked]


def runners(original: Original, run: str, scratch: Path) -> Iterator[tuple[str, Runner]]:
    """Give transformers, every static form, and the schedule."""
    encoder = original.encoder(2)
    forms = Forms(original, encoder, scratch_run(scratch, original, encoder, COLUMNS), THREADS)
    for form in [Form("transformers"), *forms.available(ENGINES)]:
        deployed = forms.deployed(form)

        def order(out: Any, deployed: Any = deployed) -> Reranked:
            score_B = deployed.read(out).logits_NC[:, 0]
            return Reranked(score_B, np.zeros(len(score_B), int), np.zeros(len(score_B), int))

        yield str(form), Runner(deployed.run, deployed.ready, order)
    backend, about = open_lists(run), AboutLists.read(Path(run))

    def scheduled(batch: Any) -> Any:
        return rerank(backend.encoder, batch, np.zeros(batch.size, int), about.schedule)

    yield (
        f"schedule, {about.dtype}",
        Runner(
            scheduled,
            lambda batch: batch,
            lambda trace: Reranked.of(trace, np.zeros(len(trace.depth_B), int)),
        ),
    )


def measured(found: Mapping[str, Runner], batches: list[Any], keep: int) -> Iterator[EngineRow]:
    """Compare the order of each form with transformers', and time all by turns."""
    orders = {
        name: [runner.order(runner.run(runner.ready(batch))) for batch in batches]
        for name, runner in found.items()
    }
    settings = {
        name: (runner.run, [runner.ready(batch) for batch in batches[:TIMED]])
        for name, runner in found.items()
    }
    with undisturbed(THREADS):
        took = time_interleaved(settings, REPEATS, 2)
    for name, of_lists in orders.items():
        kept_Q = [
            100 * (1 - float(record_of(theirs, keep).lost_Q(each)[0]))
            for theirs, each in zip(orders[str(Form("transformers"))], of_lists, strict=True)
        ]
        kept = mean_interval(np.array(kept_Q))
        yield EngineRow(
            form=name,
            size=SIZE,
            kept=round(kept.value, 2),
            low=round(kept.low, 2),
            high=round(kept.high, 2),
            num_lists=len(kept_Q),
            ms=round(float(np.median(took[name].mean(0))), 1),
            timed_lists=TIMED,
            repeats=REPEATS,
            threads=THREADS,
            machine=processor(),
        )


def record_of(theirs: Reranked, keep: int) -> ListRecord:
    """One list as the original orders it."""
    score_B = theirs.score_B
    ones_B = np.ones(len(score_B), int)
    return ListRecord(score_B[None], score_B, ones_B, theirs.list_B, keep)


def table(rows: list[EngineRow]) -> str:
    """Make the table of the page."""
    (theirs,) = [row for row in rows if row.form.startswith("transformers")]
    lines = [
        {
            "form": row.form,
            "best ten kept": f"{row.kept:.1f} % ({row.low:.1f} to {row.high:.1f})",
            "ms a list": f"{row.ms:.0f}",
            "times as fast as transformers": f"{theirs.ms / row.ms:.1f}",
        }
        for row in sorted(rows, key=lambda row: -row.ms)
    ]
    return markdown(DataFrame(lines))


def main(**given: str) -> None:
    rows = jsonl.read(ROWS, EngineRow)
    if given:
        keep_kernels()
        original = Original.open(given["model"], lists=True)
        keep, scratch = AboutLists.read(Path(given["run"])).keep, Path(given["scratch"])
        some = [one for one in read_query_lists(given["queries"]) if len(one.candidates) >= SIZE]
        lists = QueryLists.of(some, keep)
        short = QueryLists(lists.queries, [x[:SIZE] for x in lists.candidates], 0, 0, 0)
        rows_B, list_B = short.pairs_of(np.arange(len(short)))
        split = splits_of(short.texts, {"all": rows_B}, original, scratch)["all"]
        batches = [split.batch(np.flatnonzero(list_B == n)) for n in range(len(short))]
        found = dict(runners(original, given["run"], scratch))
        rows = [*measured(found, batches, keep)]
        jsonl.write(ROWS, rows)
    print(table(rows))


if __name__ == "__main__":
    with reported():
        main(**dict(word.split("=", 1) for word in sys.argv[1:]))
