"""How much can a reranker save?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eat_lightning.report import columns as col
from eat_lightning.report import result
from eat_lightning.report.figures import SERIES, Figure
from eat_lightning.report.panels import in_panels
from eat_lightning.report.result import Result
from eat_lightning.report.section import Section
from eat_lightning.report.table import Column, Table

NAMES = {"qnli": "QNLI", "trec": "TREC 2021"}
WAYS = {"schedule": "schedule", "grid": "fewer candidates and layers"}
SHOWN = 0.45  # cost of the page's table
SIZE = 100  # candidates, for which the schedule was certified


def page(results: Path) -> Section:
    made, beside, ways = (
        result.read(results / f"{n}.jsonl") for n in ("adapted", "beside", "ways")
    )
    asked = [row for row in ways if row["asked"]]
    shown = [row for row in asked if row["asked"] == SHOWN]
    depths = [row for row in ways if not row["asked"]]
    full = [row for row in beside if row["size"] == SIZE]
    claim = Section("lists", "Rerankers", answers(full))
    claim.add(
        tables=[
            table("certified", "Certified schedules", CERTIFIED, made),
            table("beside", "Compared with other strategies, on new lists", BESIDE, full),
            table("ways", "At most 0.45 of the cost", WAY, shown),
            table("costs", "At every cost", WAY, asked),
            table("depths", "All candidates ranked at one depth", DEPTHS, depths),
            table("sizes", "By the number of candidates", SIZES, by_size(beside)),
        ],
        figures=[kept_over_cost(asked)],
    )
    claim.notes = ["Differences have paired 95 % bootstrap intervals over lists."]
    claim.facts = [*facts(full, shown), *(times(row) for row in made)]
    return claim


def table(name: str, title: str, columns: Sequence[Column], items: Sequence[Any]) -> Table:
    return col.table(name, title, "", columns, items, None)


def one(rows: Sequence[Result], **what: Any) -> Result:
    return next(row for row in rows if all(row[key] == value for key, value in what.items()))


def answers(full: Sequence[Result]) -> list[str]:
    schedule = one(full, strategy="schedule", dtype="bf16")
    more = schedule["more"].text(1, "+")
    return [f"In bf16 the schedule keeps {schedule['kept']:.1f} % of the best ten, {more} points."]


def facts(full: Sequence[Result], shown: Sequence[Result]) -> list[str]:
    """How much less the rivals spend than the schedule beside which they stand."""
    schedule = one(full, strategy="schedule", dtype="fp32")
    less = {"beside": 1 - one(full, strategy="fewer of both")["cost"] / schedule["cost"]}
    longer = schedule["ms"] / one(full, strategy="fewer candidates")["ms"] - 1
    for data in NAMES:
        pair = [one(shown, data=data, way=way)["cost"] for way in WAYS]
        less[NAMES[data]] = 1 - pair[1] / pair[0]
    found = [f"{name}: fewer of both spends {100 * x:.1f} % less" for name, x in less.items()]
    return [*found, f"in fp32 the schedule takes {100 * longer:.1f} % longer"]


def times(made: Result) -> str:
    """How a certified list's time divides between the dtype and the schedule."""
    theirs, whole, lists = (made[f"{n}_ms"] for n in ("transformers", "all_layers", "lists"))
    return (
        f"All layers: {theirs / whole:.1f} times; schedule: {theirs / lists:.1f} times, "
        f"{lists / theirs:.2f} of transformers' time and {lists / whole:.2f} of all layers'; "
        f"swapped with confidence at most {100 * made['swapped_at_most']:.2f} %"
    )


def promise(made: Result) -> str:
    return f"at most {100 * (1 - made['agree']):.0f} % of the best {made['keep']} lost"


CERTIFIED = [
    col.word("promise", "certified with 95 % confidence", promise),
    col.word("lost", "lost", lambda row: f"{100 * row['lost']:.2f} % on {row['lists']} lists"),
    col.number("swapped", "pairs swapped (%)", lambda row: 100 * row["swapped"]),
    col.number("cost", "cost", digits=3),
    col.number("theirs", "transformers, ms", "transformers_ms", 0),
    col.number("whole", "all layers, bf16, ms", "all_layers_ms", 0),
    col.number("schedule", "schedule, bf16, ms", "lists_ms", 0),
]
BESIDE = [
    col.word("strategy", "strategy"),
    col.word("dtype", "dtype"),
    col.number("kept", "best ten kept (%)", digits=1),
    col.interval("more", "gain over fewer of both (points)", digits=1, sign="+", against=0),
    col.number("swapped", "pairs swapped (%)", digits=1),
    col.number("ndcg", "NDCG@10", digits=1),
    col.number("cost", "FLOPs", digits=3),
    col.number("ms", "ms", digits=0),
]
WAY = [
    col.word("data", "lists", lambda row: NAMES[row["data"]]),
    col.number("asked", "target cost"),
    col.word("way", "way", lambda row: WAYS[row["way"]]),
    col.number("cost", "FLOPs", digits=3),
    col.number("kept", "best ten kept (%)", digits=1),
    col.interval("more", "gain over fewer of both (points)", digits=1, sign="+", against=0),
    col.number("ndcg", "NDCG@10", digits=1),
    col.interval("ndcg_more", "NDCG@10 gain", digits=1, sign="+", against=0),
]
DEPTHS = [
    col.word("data", "lists", lambda row: NAMES[row["data"]]),
    col.word("way", "ranked by"),
    col.number("kept", "original's best ten in the top ten (%)", digits=1),
    col.number("ndcg", "NDCG@10", digits=1),
]
SIZES = [
    col.count("size", "candidates"),
    col.number("kept", "best ten kept (%)", "schedule.kept", 1),
    col.number("cost", "FLOPs", "schedule.cost", 3),
    col.number("theirs", "transformers, ms", "theirs.ms", 0),
    col.number("whole", "all layers, bf16, ms", "whole.ms", 0),
    col.number("ms", "schedule, bf16, ms", "schedule.ms", 0),
    col.number(
        "times", "speed-up over transformers", lambda e: e["theirs"]["ms"] / e["schedule"]["ms"], 1
    ),
    col.number(
        "gain", "speed-up over all layers", lambda e: e["whole"]["ms"] / e["schedule"]["ms"]
    ),
]


def by_size(beside: Sequence[Result]) -> list[dict[str, Any]]:
    """Transformers, all layers and the schedule in bf16, by the size of lists."""
    return [
        {
            "size": size,
            "theirs": one(beside, size=size, strategy="transformers"),
            "whole": one(beside, size=size, strategy="all layers", dtype="bf16"),
            "schedule": one(beside, size=size, strategy="schedule", dtype="bf16"),
        }
        for size in sorted({row["size"] for row in beside})
    ]


def kept_over_cost(asked: Sequence[Result]) -> Figure:
    """A panel for each kind of lists, a line for each way."""

    def draw(axes: Any, data: str) -> None:
        for color, (way, name) in zip(SERIES[1::-1], WAYS.items(), strict=True):
            some = [row for row in asked if (row["data"], row["way"]) == (data, way)]
            costs, kept = ([row[key] for row in some] for key in ("cost", "kept"))
            axes.plot(costs, kept, "o-", color=color, label=name)
        axes.set(title=NAMES[data], xlim=(0, 0.75), ylim=(40, 101))
        axes.legend(loc="lower right")

    labels = "FLOPs (share of all candidates, all layers)", "original's best ten kept (%)"
    title = "Candidates kept at equal cost"
    return in_panels("kept-over-cost", title, "", [*NAMES], draw, labels, sharey=True)
