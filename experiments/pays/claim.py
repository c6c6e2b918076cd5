"""Does choosing per example pay? Exits beside full depth, one depth for all, students, cascades."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from eat_lightning.report.figures import INK, MUTED, SERIES, Figure
from eat_lightning.report.panels import handles, in_panels
from eat_lightning.report.result import Result
from eat_lightning.report.section import Section
from eat_lightning.runs.row import FIXED

from . import tables
from .bodies import Body
from .tables import Kept

TIMED = (  # task, layers, seed: first those whose students took as many steps as their teachers
    *(("sst2", 12, 3), ("qqp", 6, 3), ("mnli", 6, 3)),
    *(("qqp", 12, 1), ("mnli", 12, 1), ("qqp", 6, 2)),
)
LEAD = {"sst2": [3, 3], "qqp": [2, 1], "mnli": [2, 1]}  # seeds of the cascades that are drawn
LOOKS: dict[str, dict[str, Any]] = {
    "exits": {"color": SERIES[1], "marker": "o", "markersize": 3.5, "linewidth": 1.3},
    "fixed depth": {"color": MUTED, "marker": ".", "markersize": 4, "linewidth": 0.9},
    "student of half the layers": {"color": SERIES[0], "marker": "D", "linestyle": ""},
    "MiniLM first, MPNet where it is unsure": {"color": SERIES[2], "linestyle": "--"},
    "exits of both in one chain": {"color": SERIES[5], "linestyle": ":", "linewidth": 1.5},
    "full depth": {"color": INK, "linewidth": 0.7},
}
KINDS = {"cascade by confidence": "MiniLM first, MPNet where it is unsure"}
KINDS |= {"exits of both": "exits of both in one chain"}


def page(results: Path) -> Section:
    kept = Kept(results)
    clocks = [kept.clock(*about) for about in TIMED]
    found = [
        tables.budgets(kept.bodies),
        tables.answers(kept.bodies, kept.read("yardstick")),
        tables.students(kept),
        tables.times("times", clocks[:3]),
        tables.times("times-shorter", clocks[3:]),
        tables.cascades(kept.plane),
        tables.cascade_times(kept),
        tables.dial(kept.read("dial")),
        tables.targets(kept.bodies),
        tables.steps(kept.read("steps")),
        tables.int8(kept.read("int8")),
    ]
    title = "Does choosing per example pay?"
    return Section("pays", title, tables=found, figures=[figure(kept)], facts=[*facts(kept)])


def figure(kept: Kept) -> Figure:
    """Accuracy over cost of each model: the seed that has a student of the most steps."""

    def draw(ax: Any, body: Body) -> None:
        seed = [*body.best_students][-1].row.seed
        for name, points in curves(body, seed, kept.plane).items():
            ax.plot(*zip(*points, strict=True), **LOOKS[name])
        exits = [y for _, y in curves(body, seed, [])["exits"]]
        ax.set_ylim(min(exits) - 2.5, max(exits) + 0.8)
        ax.set_xlim(0.1, 0.8)
        ax.set_title(f"{body.name}, seed {seed}", fontsize=8)

    def legend(drawing: Any, axes: Sequence[Any], made: Sequence[Any]) -> None:
        drawing.legend(*handles(LOOKS), fontsize=6.5, loc="outside lower center", ncols=3)

    labels = "share of full FLOPs", "accuracy on dev, %"
    title, caption = "Accuracy over cost", "One seed of each model."
    return in_panels("pays", title, caption, kept.bodies, draw, labels, finish=legend)


def curves(body: Body, seed: int, plane: Sequence[Result]) -> dict[str, list[tuple[float, float]]]:
    """Points (cost, accuracy) of each line of a panel, by the names of `LOOKS`."""
    own = [m.row for m in body.rows if m.row.seed == seed]
    exits = [row for row in own if row.budget]
    fixed = [row for row in own if row.baseline == FIXED]
    full = max(fixed, key=lambda row: row.depth)
    found = {"full depth": [(0.0, percent(full)), (1.0, percent(full))]}
    lines = {"fixed depth": fixed, "exits": exits}
    for name, rows in lines.items():
        found[name] = sorted((row.flops_ratio, percent(row)) for row in rows)
    student = next(m.row for m in body.best_students if m.row.seed == seed)
    found["student of half the layers"] = [(student.flops / full.flops, percent(student))]
    for kind, name in KINDS.items() if body.layers == 12 else ():
        wanted = {"task": body.task, "system": "MiniLM > MPNet", "kind": kind}
        rows = [r for r in plane if wanted.items() <= r.what.items() and r["asked"]]
        lead = [r for r in rows if r["seeds"] == LEAD[body.task]]
        if lead:
            found[name] = [(r["share"], r["accuracy"].value) for r in lead]
    return found


def percent(row: Any) -> float:
    return 100 * row.accuracy


def facts(kept: Kept) -> Iterator[str]:
    """Numbers of the page's sentences that no table has."""
    yield "In brackets are paired 95 % bootstrap intervals. 99 % of the answers are to stay."
    mixes = [body.gains[0.4].mix.value for body in kept.bodies]
    yield f"At 0.4: {min(mixes):.2f} to {max(mixes):.2f} points over the best mix of two depths."
    verdicts = [line.cells["verdict"].text for line in tables.targets(kept.bodies).lines]
    yield ", ".join(f"{count} times {verdict}" for verdict, count in Counter(verdicts).items())
    for body in kept.bodies:
        full = body.full().values("accuracy")
        took = sorted({m.row.train_seconds for m in body.rows if m.row.train_seconds})
        yield f"{body.name}: {tables.by_seed(full)} % at full depth, heads {took} seconds."
    agree = [r for r in kept.plane if r["kind"] == "cascade by agreement"]
    for line in agree:
        more = line["beside"].text(sign="+")
        yield f"{line['system']}: {line['accuracy'].value:.2f} % at {line['share']:.3f}, {more}."
