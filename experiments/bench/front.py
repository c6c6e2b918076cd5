"""The five rows of README's table: exits in the fastest engine, beside what else could be run.

    python -m experiments.bench.front

Times are of the bench (fp32, batch 1), accuracy of the rows of the same run at the same budget. An
engine's fp32 graph gives the run's logits, or it does not race; of int8 that does not follow.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from eat_lightning.runs import jsonl, row
from eat_lightning.runs.row import Row
from experiments.bench.rows import BenchRow

EXPERIMENTS = Path(__file__).parents[1]
RACED = ("bench/results/deployed12", "bench/results/deployed")
KEPT = ("budgets/heads", "methods/results", "budgets/linear", "budgets/results")
NAMES = {"sst2": "SST-2, sentences", "qqp": "QQP, pairs", "mnli": "MNLI, pairs"}
NOT_WHERE = {  # of these tasks, as the pages of budgets and methods have it
    ("sst2", 12): "above 0.56 of the cost: one depth for all is as accurate",
    ("qqp", 12): "dropped tokens add next to nothing",
    ("sst2", 6): "half the width is as accurate, and faster in batches",
    ("qqp", 6): "short training leaves the exits behind",
    ("mnli", 6): "take a smaller distilled model where it is fast enough",
}
HEAD = """\
| task, layers | cost | accuracy, of the full model's | times Hugging Face | times the fastest \
static engine | where it does not pay |
|---|---:|---:|---:|---:|---|"""


@dataclass(frozen=True)
class Deployed:
    """The fastest adaptive candidate of a race, with the rows of its run and of the static model
    that was trained for itself."""

    raced: BenchRow
    budgeted: Row
    static: Row

    def __str__(self) -> str:
        raced, over = self.raced, self.raced.over
        cells = (
            f"{NAMES[raced.task]}, {raced.num_layers}",
            f"{self.budgeted.flops_ratio:.2f}",
            f"{percent(self.budgeted):.1f} of {percent(self.static):.1f}",
            f"{over['HF'][0]:.1f}",
            f"{over['best static'][0]:.1f}",
            NOT_WHERE[raced.task, raced.num_layers],
        )
        return f"| {' | '.join(cells)} |"


def percent(row: Row) -> float:
    return 100 * float(row.accuracy or 0.0)


def table() -> str:
    return "\n".join([HEAD, *map(str, deployed())])


def deployed() -> Iterator[Deployed]:
    """Yield the fastest adaptive candidate of each run, those of twelve layers first."""
    paths = [EXPERIMENTS / place / "rows.jsonl" for place in RACED]
    raced = [r for path in paths for r in jsonl.read(path, BenchRow) if is_adaptive(r)]
    kept = list(chain.from_iterable(row.read(EXPERIMENTS / p / "rows.jsonl") for p in KEPT))
    for weights in dict.fromkeys(r.weights for r in raced):
        fastest = min((r for r in raced if r.weights == weights), key=lambda r: r.ms[0])
        yield Deployed(fastest, budgeted_row(fastest, kept), static_row(fastest, kept))


def is_adaptive(raced: BenchRow) -> bool:
    alone = raced.batch == 1 and raced.order == "as they come"
    return alone and raced.dtype == "fp32" and "EAT" in raced.candidate


def budgeted_row(raced: BenchRow, kept: list[Row]) -> Row:
    budget = float(raced.race.removeprefix("deployed-"))
    found = [r for r in kept if f"{r.study}/{r.run}" == raced.weights and r.budget == budget]
    return next(r for r in found if r.dtype == "fp32")


def static_row(raced: BenchRow, kept: list[Row]) -> Row:
    """The first seed's, trained for itself: without a teacher, as deep as the adaptive one."""
    found = [r for r in kept if r.task == raced.task and r.num_layers == raced.num_layers]
    plain = [r for r in found if r.seed == 1 and not r.baseline and not r.teacher]
    return next(r for r in plain if r.model in ("bert", "minilm"))


if __name__ == "__main__":
    print(table())
