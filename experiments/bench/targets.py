"""Targets of the bench beside its results: each verdict is computed from the rows.

    python experiments/bench/targets.py experiments/bench/results/rows.jsonl

Accuracy in int8 and bf16, long texts, and the number of forward passes are not the bench's to
judge. "Within noise": the interval holds the bound.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter

from pandas import DataFrame

from eat_lightning.runs import jsonl
from experiments.bench.rows import BenchRow, Interval
from experiments.bench.tables import markdown, ranged

COMES, SORTED = "as they come", "sorted"
EATS = ("EAT", "EAT prepacked")
STATICS = ("static", "static prepacked")
HALVES = ("static half", "static half prepacked")
INT8 = ("ORT EAT int8", "EAT int8")
Rows = dict[str, BenchRow]  # timed by turns, by candidate
Bound = float | Callable[[BenchRow, Rows], float]


@dataclass(frozen=True)
class Target:
    """`reached` of each row that is asked about must be `bound` at least, or at most.

    batch, task: None asks about all; order: its beginning. A rival must have raced."""

    what: str
    candidates: Sequence[str]
    bound: Bound
    reached: Callable[[BenchRow], Interval]
    batch: int | None = None
    order: str = ""
    races: Sequence[str] = ("fp32", "bf16")
    task: str | None = None
    at_most: bool = False

    def asks(self, row: BenchRow) -> bool:
        wanted = row.candidate in self.candidates and row.race in self.races
        fits = self.batch in (None, row.batch) and self.task in (None, row.task)
        raced = not isinstance(self.reached, Over) or self.reached.label in row.over
        return wanted and fits and raced and row.order.startswith(self.order)


@dataclass(frozen=True)
class Over:
    """A rival's time / a row's, or the other way round."""

    label: str
    inverse: bool = False

    def __call__(self, row: BenchRow) -> Interval:
        value, low, high = row.over[self.label]
        return [1 / value, 1 / high, 1 / low] if self.inverse else [value, low, high]


def padding(row: BenchRow, rows: Rows) -> float:
    return 0.95 * row.padding_factor


def flops_and_padding(row: BenchRow, rows: Rows) -> float:
    return padding(row, rows) * rows["HF BERT"].flops / row.flops


def distance(row: BenchRow) -> Interval:
    """Time / what the ceilings allow."""
    return [ms / row.limit_ms for ms in row.ms]


conversion, peak = attrgetter("conversion"), attrgetter("peak_share")


TARGETS = [
    Target("conversion at batch 32", EATS, 0.95, conversion, 32),
    Target("conversion at batch 1", EATS, 0.9, conversion, 1),
    *(
        Target(
            "time / the fastest engine's, static",
            ["static prepacked"],
            1.03,
            Over("best engine", inverse=True),
            batch,
            at_most=True,
        )
        for batch in (1, 32)
    ),
    Target("time / the limit, batch 1", ["static prepacked"], 1.6, distance, 1, at_most=True),
    Target(
        "deployed over the best static engine, batch 1",
        ["EAT prepacked", "ORT EAT fp32", "OV EAT fp32", "ORT EAT int8", "OV EAT int8", "EAT int8"],
        1.7,
        Over("best static"),
        1,
        COMES,
        ["deployed-0.5"],
    ),
    Target(
        "cost of adaptivity (time / static)",
        ["off, norm scores"],
        1.03,
        Over("static", inverse=True),
        races=("cost-fp32", "cost-bf16"),
        at_most=True,
    ),
    Target("static over HF BERT, sorted", STATICS, 1.05, Over("BERT"), 32, SORTED),
    Target("static over HF BERT, 0.95 x padding", STATICS, padding, Over("BERT"), 32, COMES),
    Target("EAT over HF BERT, batch 1", EATS, 2.9, Over("BERT"), 1),
    Target("EAT over HF BERT, sorted", EATS, 3.1, Over("BERT"), 32, SORTED),
    Target(
        "EAT over HF BERT, 0.95 x FLOPs ratio x padding",
        EATS,
        flops_and_padding,
        Over("BERT"),
        32,
        COMES,
    ),
    Target("EAT over HF DistilBERT, batch 1", EATS, 1.4, Over("DistilBERT"), 1),
    Target("EAT over HF DistilBERT, batch 32", EATS, 1.5, Over("DistilBERT"), 32),
    Target("share of the matrix rate, batch 32", [*STATICS, *HALVES, *EATS], 0.9, peak, 32),
    *(
        Target(
            f"deployed int8 over HF fp32, {length} tokens",
            INT8,
            bound,
            Over("HF"),
            1,
            f"about {length} tokens",
            ["deployed"],
        )
        for length, bound in ((32, 4.5), (128, 3.8))
    ),
    Target(
        "deployed int8 over the static int8 export",
        INT8,
        1.3,
        Over("static int8"),
        1,
        "about",
        ["deployed"],
    ),
    Target(
        "training step over the padded fp32 loop",
        ["EAT bf16"],
        4.5,
        Over("HF fp32"),
        32,
        COMES,
        ["training"],
        "sst2",
    ),
]


def table_of(rows: Sequence[BenchRow]) -> DataFrame:
    return DataFrame(line for target in TARGETS for line in lines_of(target, rows))


def lines_of(target: Target, rows: Sequence[BenchRow]) -> Iterator[dict[str, str | int]]:
    for row in filter(target.asks, rows):
        by_turns = {other.candidate: other for other in rows if other.run == row.run}
        bound = target.bound(row, by_turns) if callable(target.bound) else target.bound
        reached = target.reached(row)
        same = ("race", "weights", "candidate", "task", "batch", "order")
        yield {
            "what": target.what,
            **{name: getattr(row, name) for name in same},
            "wanted": f"{'≤' if target.at_most else '≥'} {bound:.2f}",
            "reached": ranged(reached),
            "verdict": verdict(reached, bound, target.at_most),
        }


def verdict(reached: Interval, bound: float, at_most: bool = False) -> str:
    value, low, high = reached
    met = value <= bound if at_most else value >= bound
    noisy = low <= bound <= high
    return ("met" if met else "missed") + ", within noise" * noisy


if __name__ == "__main__":
    print(f"# Targets\n\n{markdown(table_of(jsonl.read(sys.argv[1], BenchRow)))}")
