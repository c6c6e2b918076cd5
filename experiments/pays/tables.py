"""The tables of the page, each from kept lines."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from eat_lightning.report import cells, result
from eat_lightning.report import columns as col
from eat_lightning.report.intervals import Interval, over_seeds
from eat_lightning.report.result import Result
from eat_lightning.report.study import grouped_by, open_study
from eat_lightning.report.table import Cell, Column, Table

from .bodies import ASKED, TASKS, Body, bodies_of
from .targets import target_lines

POINTS: dict[str, Any] = {"sign": "+", "against": 0}
AGREE = "agree 0.99"  # a setting of plane.jsonl
COSTS = (0.13, 0.21, 0.3, 0.5)  # at which cascades are shown
FEWER = "the student took fewer steps than the tuned model"
OLDER = "operating points were chosen on the other half of dev"


@dataclass
class Kept:
    """Everything in `results/`."""

    folder: Path

    @cached_property
    def bodies(self) -> list[Body]:
        return bodies_of(open_study([str(self.folder / "rows.jsonl")]))

    def read(self, name: str) -> list[Result]:
        return result.read(self.folder / f"{name}.jsonl")

    @cached_property
    def plane(self) -> list[Result]:
        return self.read("plane")

    @cached_property
    def times(self) -> list[Result]:
        return self.read("times")

    def clock(self, task: str, layers: int, seed: int) -> list[Result]:
        """What was timed beside a student, the slowest first."""
        wanted = {"task": task, "layers": layers, "seed": seed, "among": "students"}
        found = [r for r in self.times if wanted.items() <= r.what.items()]
        return sorted(found, key=lambda r: -r["latency_ms"])


def name_of(line: Result) -> str:
    return f"{TASKS[line['task']]}, {line['layers']} layers"


def budgets(bodies: Sequence[Body]) -> Table:
    """A line for each model and share of the FLOPs, seeds averaged."""
    columns = [
        col.word("model", "model"),
        col.count("asked", "target cost"),
        col.number("spent", "cost", digits=3),
        col.word("accuracy", "accuracy by seed"),
        col.points("lost", "change from full depth"),
        col.interval("fixed", "gain over fixed depth", **POINTS),
        col.interval("mix", "gain over best mix", **POINTS),
        col.points("student", "gain over student"),
    ]
    lines = [budget_line(body, asked) for body in bodies for asked in ASKED]
    return col.table("budgets", "Exits at a share of the FLOPs", "", columns, lines, about=None)


def budget_line(body: Body, asked: float) -> dict[str, Any]:
    point, gain = body.at(asked), body.gains[asked]
    student = [*body.best_students][-1]  # of the last seed, where its steps are equal if anywhere
    beyond = cells.points(body.over(student, asked))
    if not body.learned_as_long(student):
        beyond = replace(beyond, flags=(*beyond.flags, FEWER))
    return {
        "model": body.name if asked == ASKED[0] else "",
        "asked": f"{asked:g}",
        "spent": point.mean("flops_ratio"),
        "accuracy": by_seed(point.values("accuracy")),
        "lost": body.lost(point),
        "fixed": gain.fixed,
        "mix": gain.mix,
        "student": beyond,
    }


def by_seed(shares: Sequence[float]) -> str:
    return ", ".join(f"{100 * share:.2f}" for share in shares)


def answers(bodies: Sequence[Body], yardstick: Sequence[Result]) -> Table:
    """Percent of answers that stay those of full depth, beside how often two trainings agree."""
    columns = [
        col.word("model", "model"),
        col.interval("two", "agreement of two trainings"),
        *(at_cost(asked, f"unchanged at {asked:g}") for asked in ASKED),
        col.number("cost", "cost for a target of 99 %", digits=3),
        col.interval("same", "unchanged at that cost"),
    ]
    lines = []
    for body in bodies:
        same = [r["agreement"] for r in yardstick if name_of(r) == body.name]
        at_99 = body.unchanged(0.99)
        line: dict[Any, Any] = {asked: body.same_answers(body.at(asked)) for asked in ASKED}
        line |= {"model": body.name, "two": over_seeds(same)}
        line |= {"cost": at_99.mean("flops_ratio"), "same": body.same_answers(at_99)}
        lines.append(line)
    return col.table("answers", "Unchanged answers", "", columns, lines, about=None)


def at_cost(asked: float, title: str, **how: Any) -> Column:
    """A column of what a line has under a cost."""
    return col.interval(f"at {asked:g}", title, lambda line: line.get(asked), **how)


def students(kept: Kept) -> Table:
    """Exits beside students of half the layers: at their FLOPs, and at their time."""
    columns = [
        col.word("model", "model"),
        col.word("steps", "steps of tuned model, student"),
        col.number("accuracy", "student"),
        col.points("half", "gain of exits at half of the FLOPs"),
        col.word("setting", "exits at most as slow"),
        col.interval("clock", "gain over student", **POINTS),
    ]
    lines = [line for body in kept.bodies for line in lines_of_students(kept, body)]
    lines.sort(key=lambda line: bool(line["flags"]))
    return col.table("students", "Compared with students", "", columns, lines, about=None)


def lines_of_students(kept: Kept, body: Body) -> Iterator[dict[str, Any]]:
    """A line for each seed with a student; the most accurate one on dev stands for FLOPs, and the
    one that was timed for time."""
    for student in body.best_students:
        exits = no_slower(kept.clock(body.task, body.layers, student.row.seed))
        yield {
            "model": f"{body.name}, seed {student.row.seed}",
            "steps": f"{body.steps:,}, {student.row.steps:,}",
            "accuracy": 100 * (student.row.accuracy or 0.0),
            "half": body.over(student, 0.5),
            "setting": setting_of(exits) if exits else None,
            "clock": over_student(exits) if exits else None,
            "flags": [] if body.learned_as_long(student) else [FEWER],
        }


def no_slower(clock: Sequence[Result]) -> Result | None:
    """The most accurate exits that take no longer than the student, one by one."""
    most = min((r["latency_ms"] for r in clock if is_student(r)), default=0.0)
    found = [r for r in clock if r["kind"] == "exits" and r["latency_ms"] <= most]
    return max(found, key=lambda r: r["accuracy"], default=None)


def large(line: Result) -> str:
    """The model with exits, as `times.jsonl` names it."""
    return "MPNet" if line["layers"] == 12 else "MiniLM"


def student(line: Result) -> str:
    return f"{large(line)}, {line['layers'] // 2} layers"


def is_student(line: Result) -> bool:
    return line["system"] == student(line)


def over_student(line: Result) -> Interval | None:
    return None if is_student(line) else line[f"over {student(line)}"]


def minus_full(line: Result) -> Interval | None:
    is_full = line["kind"] == "static" and line["system"] == large(line)
    return None if is_full else line[f"over {large(line)}"]


def setting_of(line: Result) -> str:
    if line["kind"] == "exits":
        return f"exits, target {line['setting'].removeprefix('cost ')}"
    if is_student(line):
        return "student"
    return "full depth" if line["system"] == large(line) else line["system"]


def times(name: str, clocks: Sequence[Sequence[Result]]) -> Table:
    columns = [
        col.word("model", "model"),
        col.word("setting", "setting", setting_of),
        col.number("accuracy", "accuracy"),
        col.interval("lost", "change from full depth", minus_full, **POINTS),
        col.interval("above", "gain over student", over_student, **POINTS),
        *clock_columns(),
    ]
    firsts = {id(clock[0]) for clock in clocks}

    def model(line: Result) -> str:
        about = f"{name_of(line)}, seed {line['seed']}, {processor(line['machine'])}"
        return about if id(line) in firsts else ""

    columns[0] = col.word("model", "model", model)
    lines = [line for clock in clocks for line in clock]
    return col.table(name, "Times", "", columns, lines, about=None)


def clock_columns() -> list[Column]:
    return [
        col.number("latency_ms", "ms, batch 1"),
        col.shown("speed_up", "speed-up", cell=ratio),
        col.shown("batch_speed_up", "speed-up, batch 32", cell=ratio),
    ]


def ratio(found: Interval | None) -> Cell:
    """A factor with its interval, if it has one."""
    if found is None or found.low < found.high:
        return cells.interval(found, against=1)
    return cells.number(found.value, 2)


def processor(machine: str) -> str:
    """ "Intel Xeon" of "Intel(R) Xeon(R) Processor x2"."""
    return re.sub(r"\(R\)| Processor| x\d+$", "", machine)


def cascades(plane: Sequence[Result]) -> Table:
    """Every system minus MPNet's exits asked for the same cost."""
    columns = [
        col.word("task", "task"),
        col.word("system", "system"),
        col.word("kind", "kind"),
        col.word("seeds", "seeds"),
        *(at_cost(asked, f"at {asked:g}", **POINTS) for asked in COSTS),
        col.number("cost", "cost at 99 % unchanged", digits=3),
    ]
    groups = grouped_by(plane, lambda r: (r["task"], r["system"], r["kind"], str(r["seeds"])))
    lines = [line for found in groups.values() if (line := cascade_line(found))]
    lines.sort(key=lambda line: [*TASKS.values()].index(line["task"]), reverse=True)
    return col.table("cascades", "Cascades compared with exits", "", columns, lines, about=None)


def cascade_line(found: Sequence[Result]) -> dict[Any, Any]:
    """What one system has at `COSTS`, and where 99 % of the answers stay; empty where it has
    neither."""
    line: dict[Any, Any] = {r["asked"]: r["beside"] for r in found if r["asked"] in COSTS}
    at_99 = next((r["share"] for r in found if r["setting"] == AGREE), None)
    if not line and at_99 is None:
        return {}
    first = found[0]
    line |= {"task": TASKS[first["task"]], "system": first["system"], "kind": first["kind"]}
    line |= {"seeds": ", ".join(map(str, first["seeds"])), "cost": at_99}
    return line | {"flags": [OLDER] if first["chosen"] else []}


def cascade_times(kept: Kept) -> Table:
    """QQP's and MNLI's cascades by the clock, beside exits at the same cost."""
    columns = [
        col.word("task", "task"),
        col.word("name", "system"),
        col.word("asked", "asked"),
        col.number("accuracy", "accuracy"),
        col.interval("beside", "gain over MPNet's exits", **POINTS),
        *clock_columns(),
    ]
    found = [r for r in kept.times if r["among"] == "cascades"]
    lines = [cascade_time(r, kept.plane) for r in found]
    lines.sort(key=lambda line: (line["task"], line["latency_ms"]), reverse=True)
    return col.table("cascade-times", "Times of cascades", "", columns, lines, about=None)


def cascade_time(timed: Result, plane: Sequence[Result]) -> dict[str, Any]:
    same = {name: timed[name] for name in ("task", "system", "kind", "setting")}
    judged = [r for r in plane if same.items() <= r.what.items()]
    beside = judged[0]["beside"] if judged and timed["kind"] != "static" else None
    about = {"task": TASKS[timed["task"]], "name": f"{timed['system']}, {timed['kind']}"}
    about |= {"asked": timed["setting"].removeprefix("cost "), "beside": beside}
    return {**timed.values, **about}


def dial(fits: Sequence[Result]) -> Table:
    """Steps to the next larger budget that lose accuracy, and means over all points."""
    columns = [
        col.word("heads", "heads"),
        col.word("fit", "fit"),
        col.count("steps", "steps"),
        col.count("lose_accuracy", "lose accuracy"),
        col.count("underspent", "points at 0.05 below the target cost"),
        col.number("spent", "cost", digits=3),
        col.number("accuracy", "accuracy"),
        col.interval("dial_minus_it", "gain of the dial over it", **POINTS),
    ]
    return col.table("dial", "Fits of the operating points", "", columns, fits, about=None)


def targets(bodies: Sequence[Body]) -> Table:
    columns = [
        col.word("model", "model"),
        col.word("wanted", "target"),
        col.number("spent", "cost", digits=3),
        col.points("reached", "reached"),
        col.word("verdict", "verdict"),
    ]
    lines = target_lines(bodies)
    return col.table("targets", "Targets", "", columns, lines, about=None)


def steps(lines: Sequence[Result]) -> Table:
    """Heads of one pass beside heads that learned step by step."""
    columns = [
        col.word("model", "model", name_of),
        col.count("asked", "target cost"),
        col.number("by_steps", "trained with the encoder"),
        col.number("accuracy", "trained on kept vectors"),
        col.interval("more", "difference", **POINTS),
    ]
    return col.table(
        "steps", "Heads on kept vectors, or with the encoder", "", columns, lines, about=None
    )


def int8(lines: Sequence[Result]) -> Table:
    columns = [
        col.word("model", "model", name_of),
        col.word("asked", "exits, target"),
        col.number("accuracy", "accuracy"),
        col.interval("over_int8", "change from full depth in int8", **POINTS),
        col.interval("over_fp32", "change from full depth in fp32", **POINTS),
        *clock_columns(),
        col.word("machine", "processor", lambda line: processor(line["machine"])),
    ]
    ordered = sorted(lines, key=lambda r: (r["task"], -r["latency_ms"]))
    return col.table("int8", "In int8", "", columns, ordered, about=None)
