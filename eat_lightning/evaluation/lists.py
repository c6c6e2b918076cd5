"""`measure` of a reranker: quality, cost and latency of its list schedule and of its baselines.

Baselines are tuned to equal cost on a third of the lists; all strategies are scored on the rest.

Shapes: B pairs of all lists, D depths (the last: all layers), Q lists.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
import yaml
from pydantic import BeforeValidator, ConfigDict
from pydantic.dataclasses import dataclass as checked

from eat_lightning.bundle.adapted import AboutLists
from eat_lightning.bundle.kernels import encoder_of, in_kernels
from eat_lightning.bundle.reranker import (
    COLUMNS,
    SCORE_OF_LISTS,
    ListModel,
)
from eat_lightning.config import CONFIG_DIR, Settings, parsed
from eat_lightning.data.query_lists import QueryList, read_query_lists
from eat_lightning.errors import ConfigError
from eat_lightning.evaluation.baselines import HuggingFaceTwin
from eat_lightning.evaluation.list_strategies import (
    FULL,
    SMALL,
    Cascade,
    Cut,
    DepthCosts,
    ListBench,
    ListModels,
    Pairs,
    Scheduled,
    Strategy,
)
from eat_lightning.evaluation.plan import Timing, run_paths
from eat_lightning.machine import processor
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.recorder import ALL_EXITS
from eat_lightning.model.trace import Trace
from eat_lightning.progress import shown
from eat_lightning.record.point import Dtype, Point
from eat_lightning.record.record import Record
from eat_lightning.record.timing import keep_kernels, time_interleaved, undisturbed
from eat_lightning.runs import jsonl
from eat_lightning.runs.run import git_commit
from eat_lightning.validation import Count

DTYPES: tuple[Dtype, ...] = ("fp32", "bf16", "int8")
SHARES = (0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)  # of a list's candidates
CHOOSING = 1 / 3  # of the lists
FEWEST = 12  # lists, on which anything can be chosen and judged
GRID = "fewer of both"  # candidates and layers: what the others' intervals are against
ROWS = "rows-lists.jsonl"
RESAMPLES = 10_000
WIDTH = 140  # where there is no terminal to ask


def one_folder(value: Any) -> str:
    """Return the only folder in `run`. Raises ValueError for none or several."""
    paths = run_paths(value)
    if len(paths) != 1:
        raise ValueError(f"must be one folder that `eat rerank` wrote, got {len(paths)}")
    return paths[0]


def file_of_lists(value: Any) -> str:
    if not value:
        raise ValueError("must name a file of lists: queries=...")
    return str(value)


class ListMeasureSettings(Settings):
    """Settings of a measurement on lists.

    Args:
        queries: a file of lists.
        small: a smaller cross-encoder to compare with.
        sizes: numbers of candidates per list, taken from the top of the first stage.
    """

    run: Annotated[str, BeforeValidator(one_folder)]
    queries: Annotated[str, BeforeValidator(file_of_lists)]
    small: str | None
    sizes: list[Count]
    timed_lists: Count
    threads: Count
    timing: Timing

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> ListMeasureSettings:
        """Parse the command's settings. ConfigError for those that are for runs."""
        usual = yaml.safe_load(Path(CONFIG_DIR, "measure.yaml").read_text("utf-8"))
        of_runs = {key: usual[key] for key in usual if key not in cls.model_fields}
        for key, value in of_runs.items():
            if config.get(key, value) != value:
                raise ConfigError(f"{key}={config[key]} is for runs, and run= is a reranker")
        return parsed(cls, {key: value for key, value in config.items() if key not in of_runs})


@checked(frozen=True, config=ConfigDict(strict=True, extra="forbid"))
class ListRow:
    """One strategy on lists of one size.

    Args:
        size: candidates per list, taken from the top of the first stage.
        point: the chosen operating point.
        cost: FLOPs as a share of scoring all candidates at full depth.
        kept: percent of the original's top candidates that are returned, averaged over lists.
        more, low, high: `kept` minus that of the best fixed choice of candidates and layers, with
            its paired 95 % bootstrap interval over lists.
        swapped: percent of pairs of returned candidates whose order differs from the original's.
        ndcg, mrr: of the top ten by the judgements, times 100; None without judgements.
        ms: per list, the median over timed lists of the mean over repeats; None if not timed.
    """

    strategy: str
    dtype: str
    size: int
    keep: int
    point: str
    cost: float
    kept: float
    more: float
    low: float
    high: float
    swapped: float
    ndcg: float | None
    mrr: float | None
    num_lists: int
    ms: float | None
    timed_lists: int
    repeats: int
    threads: int
    machine: str
    commit: str | None
    queries: str

    @property
    def key(self) -> tuple[str, str, int, str, str]:
        return self.strategy, self.dtype, self.size, self.machine, self.queries


class Named(NamedTuple):
    """A strategy with its name and dtype."""

    name: str
    dtype: str
    strategy: Strategy


@dataclass(frozen=True)
class Theirs(Scheduled):
    """Baseline: transformers' own model scores all candidates."""

    twin: HuggingFaceTwin

    def run(self, models: ListModels, pairs: Pairs) -> Any:
        return self.twin(self.twin.ready(models.batch_of(pairs.full)))


@dataclass(frozen=True)
class ListSubject:
    """The certified cross-encoder under measurement, and a small one to compare with."""

    backend: ListModel
    about: AboutLists
    small: ListModel | None
    plain: AdaptiveEncoder
    models: ListModels

    @classmethod
    def open(cls, plan: ListMeasureSettings) -> ListSubject:
        folder = Path(plan.run)
        backend, about = ListModel.open(folder), AboutLists.read(folder)
        given = folder, SCORE_OF_LISTS, len(COLUMNS), backend.tokenizer
        plain = encoder_of(*given, column=about.column)
        encoders = {dtype: in_kernels(plain, dtype) for dtype in DTYPES}
        small = None
        if plan.small is not None:
            small = ListModel.of(Path(plan.small), about.max_length, Point())
            encoders[SMALL] = small.encoder
        models = ListModels(
            about.keep, encoders, lambda windows: backend.batch_of(windows, [{}] * len(windows))
        )
        return cls(backend, about, small, plain, models)

    def pairs(self, one: QueryList) -> Pairs:
        """Tokenize the pairs of a list."""
        texts = [[one.query, text] for text in one.candidates]
        full = [read.windows[0] for read in self.backend.reader(texts)]
        small = [] if self.small is None else self.small.reader(texts)
        return Pairs(full, [read.windows[0] for read in small])

    def lists(self, given: Sequence[QueryList], found: Sequence[Pairs]) -> ListBench:
        """Run every model once over all pairs, through all layers and heads."""
        names = [FULL, *(name for name in self.models.encoders if name != FULL)]
        records = {name: self.record(name, found) for name in names}
        last_BC = records[FULL].full_BC
        records = {name: replace(each, labels=last_BC[:, 0]) for name, each in records.items()}
        costs = {
            name: DepthCosts.of(self.models.encoders[name], record.lengths)
            for name, record in records.items()
        }
        judged = [x for one in given for x in one.relevance or ()]
        grade_B = np.array(judged) if len(judged) == len(last_BC) else None
        return ListBench(records, costs, grade_B)

    @torch.inference_mode()
    def record(self, name: str, found: Sequence[Pairs]) -> Record:
        """Record the scores of all heads of a model for all pairs, without labels."""
        encoder, traces = self.models.encoders[name], []
        for pairs in shown(found, f"lists, {name}"):
            windows = pairs.small if name == SMALL else pairs.full
            traces.append(encoder(self.models.batch_of(windows), ALL_EXITS).numpy())
        list_B = np.repeat(np.arange(len(found)), [len(trace) for trace in traces])
        known = {"kind": encoder.kind, "group_B": list_B, "keep": self.about.keep}
        return Record.of(Trace.together(traces), encoder.exit, **known)

    def strategies(self, choosing: ListBench) -> Iterator[Named]:
        """Yield all strategies for lists of one size, tuned to the schedule's cost."""
        point, last = self.about.point, self.backend.num_layers
        certified, everyone = Scheduled(point), Point(counts={})
        budget = choosing.cost(certified.replay(choosing))
        cuts = [Cut(share, depth) for share in SHARES for depth in range(last + 1)]
        yield Named(GRID, FULL, best(cuts, choosing, budget))
        yield Named("transformers", FULL, Theirs(everyone, HuggingFaceTwin(self.plain)))
        for dtype in DTYPES:
            yield Named("all layers", dtype, Scheduled(replace(everyone, dtype=dtype)))
            yield Named("schedule", dtype, Scheduled(replace(point, dtype=dtype)))
        fewer = [each for each in cuts if each.depth == last]
        yield Named("fewer candidates", FULL, best(fewer, choosing, budget))
        shallow = [each for each in cuts if each.share == 1]
        yield Named("fewer layers", FULL, best(shallow, choosing, budget))
        if self.small is not None:
            yield Named("small model", FULL, Scheduled(replace(everyone, weights=SMALL)))
            yield Named("small, then this", FULL, best([*map(Cascade, SHARES)], choosing, budget))


def best(strategies: Sequence[Strategy], lists: ListBench, budget: float) -> Strategy:
    """Return the strategy that keeps most within a budget, or the cheapest if none fits."""
    found = [(strategy, strategy.replay(lists)) for strategy in strategies]
    able = [each for each in found if lists.cost(each[1]) <= budget + 1e-9]
    able = able or [min(found, key=lambda each: lists.cost(each[1]))]
    return max(able, key=lambda each: float(lists.kept_Q(each[1]).mean()))[0]


def measure_lists(plan: ListMeasureSettings) -> list[ListRow]:
    """Measure, add rows to `rows-lists.jsonl` in the run's folder, and print a table.

    Raises:
        ConfigError: in one line, for a missing folder or file.
    """
    given = [one for one in read_query_lists(plan.queries) if one.candidates]
    if len(given) < FEWEST:
        bound = f"must hold {FEWEST} lists or more, got {len(given)}"
        raise ConfigError(f"queries={plan.queries}: {bound}")
    keep_kernels()
    subject = ListSubject.open(plan)
    found = [subject.pairs(one) for one in given]
    lists, rows = subject.lists(given, found), []
    for size in plan.sizes:
        long_enough = [n for n, pairs in enumerate(found) if len(pairs.full) >= size]
        if len(long_enough) < FEWEST:
            print(f"size {size}: fewer than {FEWEST} lists have that many candidates")
            continue
        order = np.random.default_rng(0).permutation(long_enough)
        choosing, judging = np.split(order, [round(CHOOSING * len(order))])
        strategies = [*subject.strategies(lists.part(choosing, size))]
        some = [found[n] for n in judging[: plan.timed_lists]]
        cut = [Pairs(pairs.full[:size], pairs.small[:size]) for pairs in some]
        ms = times(plan, subject.models, strategies, cut)
        found_here = [*rows_of(plan, strategies, lists.part(judging, size), ms)]
        jsonl.update(Path(plan.run) / ROWS, ListRow, found_here)
        rows += found_here
    show(rows)
    return rows


def times(
    plan: ListMeasureSettings,
    models: ListModels,
    named: Sequence[Named],
    lists: Sequence[Pairs],
) -> dict[int, np.ndarray]:
    """Milliseconds (R x Q) of each strategy for each list, timed in turns; empty without timing."""
    if not plan.timing.enabled:
        return {}
    settings = {n: (partial(one.strategy.run, models), lists) for n, one in enumerate(named)}
    with undisturbed(plan.threads):
        return time_interleaved(settings, plan.timing.repeats, block=2)


def rows_of(
    plan: ListMeasureSettings,
    named: Sequence[Named],
    lists: ListBench,
    ms: dict[int, np.ndarray],
) -> Iterator[ListRow]:
    """Evaluate every strategy on the lists that were not used for tuning."""
    beside = next(one.strategy for one in named if one.name == GRID)
    beside_Q = lists.kept_Q(beside.replay(lists))
    for number, one in enumerate(named):
        trace = one.strategy.replay(lists)
        kept_Q = lists.kept_Q(trace)
        more, low, high = difference(kept_Q, beside_Q)
        took_RQ = ms.get(number)
        judged = lists.grade_B is not None
        yield ListRow(
            strategy=one.name,
            dtype=one.dtype,
            size=int(lists.size_B.max()),
            keep=lists.keep,
            point=str(one.strategy),
            cost=lists.cost(trace),
            kept=float(kept_Q.mean()),
            more=more,
            low=low,
            high=high,
            swapped=float(lists.swapped_Q(trace).mean()),
            ndcg=float(lists.ndcg_Q(trace).mean()) if judged else None,
            mrr=float(lists.mrr_Q(trace).mean()) if judged else None,
            num_lists=len(kept_Q),
            ms=None if took_RQ is None else float(np.median(took_RQ.mean(0))),
            timed_lists=0 if took_RQ is None else took_RQ.shape[1],
            repeats=plan.timing.repeats,
            threads=plan.threads,
            machine=processor(),
            commit=git_commit(),
            queries=Path(plan.queries).name,
        )


def difference(a_Q: np.ndarray, b_Q: np.ndarray) -> tuple[float, float, float]:
    """Mean of a - b with its paired percentile bootstrap interval (Efron 1979) over lists."""
    more_Q = a_Q - b_Q
    drawn = np.random.default_rng(0).integers(len(more_Q), size=(RESAMPLES, len(more_Q)))
    low, high = np.quantile(more_Q[drawn].mean(1), [0.025, 0.975])
    return float(more_Q.mean()), float(low), float(high)


def show(rows: Sequence[ListRow]) -> None:
    """Print a table and a legend of its columns."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    keep = rows[0].keep if rows else 0
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for name in ("candidates", "strategy", "dtype"):
        table.add_column(name)
    names = [
        f"best {keep} kept",
        "gain over fewer of both",
        "swapped",
        "NDCG@10",
        "MRR@10",
        "FLOPs",
        "ms",
    ]
    for name in names:
        table.add_column(name, justify="right")
    for number, row in enumerate(rows):
        of_judges = ["" if x is None else f"{x:.1f}" for x in (row.ndcg, row.mrr)]
        more = f"{row.more:+.1f} ({row.low:+.1f} to {row.high:+.1f})"
        ms = "" if row.ms is None else f"{row.ms:.0f}"
        last = number + 1 == len(rows) or rows[number + 1].size != row.size
        cells = [
            f"{row.kept:.1f} %",
            more,
            f"{row.swapped:.1f} %",
            *of_judges,
            f"{row.cost:.3f}",
            ms,
        ]
        table.add_row(str(row.size), row.strategy, row.dtype, *cells, end_section=last)
    Console(width=None if sys.stdout.isatty() else WIDTH).print(table)
    if not rows:
        return
    row = rows[0]
    print(
        f"best {keep} kept: share of full depth's best {keep} (fp32) that are returned, on "
        f"{row.num_lists} lists\nswapped: pairs of returned candidates whose order differs from "
        "full depth's (fp32)\nfewer of both: the best share of candidates and depth at the "
        "schedule's FLOPs, tuned on other lists; 95 % intervals over lists\nms: per list, "
        f"{row.timed_lists} lists x {row.repeats} in turns, {row.threads} thread(s), "
        f"{row.machine}"
    )
