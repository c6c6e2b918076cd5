"""The paper's tables 1 to 3 and figures 2, 4, 5 and 6 from our rows: accuracy, time, depth, tokens
kept, who leaves where, and cost by formula, count and clock."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import numpy as np

from eat_lightning.report import columns as col
from eat_lightning.report.baselines import Entry
from eat_lightning.report.claims.cost.formulas import expected
from eat_lightning.report.claims.exits.figure import draw_shares
from eat_lightning.report.claims.exits.rule import Rule
from eat_lightning.report.claims.frontier import settings
from eat_lightning.report.claims.retention.kept import WHOLE, Kept, quarters, reducing, within
from eat_lightning.report.claims.retention.pruning import staircase
from eat_lightning.report.difference import accuracy_interval, difference
from eat_lightning.report.figures import INK, MUTED, PAPER, SERIES, Figure
from eat_lightning.report.intervals import Interval
from eat_lightning.report.panels import dot, handles, in_panels
from eat_lightning.report.passes import passes
from eat_lightning.report.speed import EXTREMES, Cost, batch_ms, faster, single_ms, speed_up
from eat_lightning.report.study import Mark, Study
from eat_lightning.report.table import Table
from eat_lightning.runs.row import FIXED, THEIRS, Row

TASKS = {"sst2": "SST-2", "qqp": "QQP", "mnli": "MNLI"}
MODELS = {"minilm": "static", "eat_pruned": "EAT", "eat_paper": "EAT as printed"}
WIDTH, INNER = 384, 1536  # of MiniLM: formulas (4) and (5) ask for them, and rows do not hold them
PUBLISHED = {"sst2": 91.5, "qqp": 90.6, "mnli": 83.3}  # MiniLM-L6-H384, microsoft/unilm, README
TASK = col.word("task", "task", lambda entry: TASKS[entry.point.row.task])


def name_of(entry: Entry) -> str:
    row, setting = entry.point.row, entry.point.setting
    return MODELS[row.model] if entry.point.is_static else f"{MODELS[row.model]}, {setting}"


def picked(keys: str) -> list[Any]:
    """Columns of the table that `eat report` makes of settings."""
    known = {column.key: column for column in settings.COLUMNS}
    return [known[key] for key in keys.split()]


@dataclass
class Tasks:
    """Our runs on the paper's three tasks."""

    study: Study

    @cached_property
    def entries(self) -> dict[tuple[str, str, Any], Entry]:
        """Every setting by task, model and threshold (None: at full depth)."""
        points = self.study.points(baseline="")
        return {(p.row.task, p.row.model, p.row.point): Entry(self.study, p) for p in points}

    def entry(self, task: str, model: str, tau: float | None = None) -> Entry:
        return self.entries[task, model, tau]

    @cached_property
    def kept(self) -> dict[str, Kept]:
        """EAT's tokens on each task."""
        every = [kept for task in TASKS for kept in reducing(self.study, task)]
        return {kept.found.row.task: kept for kept in every if kept.model == "eat_pruned"}

    @cached_property
    def rules(self) -> dict[str, list[Rule]]:
        """EAT's thresholds at which some leave early, on each task."""
        every = [found for task in TASKS for found in passes(self.study, task)]
        shown = [found for found in every if found.name == "eat_pruned"]
        return {found.row.task: [Rule(found, p) for p in found.early] for found in shown}

    def exits(self, task: str) -> dict[str, dict[str, Any]]:
        """Who leaves where at tau 0.9, by place."""
        (rule,) = (r for r in self.rules[task] if r.point.setting == "tau 0.9")
        return {line["where"]: {**line, "task": TASKS[task]} for line in rule.places}

    def table(self) -> Table:
        shown = (("minilm", None), ("eat_pruned", 0.8), ("eat_pruned", 0.9), ("eat_paper", 0.9))
        entries = [self.entry(task, *each) for task in TASKS for each in shown]
        keys = "accuracy depth retention flops_ratio latency_ms throughput speed_up batch_speed_up"
        columns = [replace(column, group="results") for column in picked(keys)]
        for i, title in enumerate(
            ("speed-up, batch 1", "speed-up, batch 32"), start=len(columns) - 2
        ):
            columns[i] = replace(columns[i], title=title)
        against = picked("to_trained to_own gain")
        columns += [replace(column, group="points of accuracy against") for column in against]
        caption = "MiniLM, six layers, one thread of a processor; speed-ups are over own static."
        named = [TASK, col.word("model", "model", name_of)]
        return col.table("tasks", "Accuracy and time", caption, [*named, *columns], entries)

    def figure(self) -> Figure:
        """Accuracy against FLOPs, time, and time in batches, for each task."""
        panels = [(task, cost) for task in TASKS for cost in COSTS]

        def finish(drawing: Any, axes: list[Any], made: list[Any]) -> None:
            drawing.legend(*handles(LOOKS), loc="outside upper left", ncols=5, columnspacing=1.2)

        caption = "Vertical: 95 % intervals. A line joins tau 0.8 to 0.95 and full depth."
        how: dict[str, Any] = {"size": (2.4, 2.0), "finish": finish}
        draw = partial(draw_frontier, self.study)
        return in_panels("frontier", "Accuracy against cost", caption, panels, draw, **how)

    @cached_property
    def costs(self) -> list[dict[str, Any]]:
        models = ("eat_pruned", "eat_paper")
        return [cost_line(self.entry(task, model, 0.9)) for task in TASKS for model in models]


def gflops(row: Row) -> Interval:
    return Interval.exact(row.flops / 1e9)


COSTS: dict[str, Cost] = {
    "GFLOPs": gflops,
    "ms, batch 1": single_ms,
    "ms per example, batch 32": batch_ms,
}
LOOK: dict[str, Any] = {"linestyle": "", "markersize": 4.5, "mew": 1}
LOOKS: dict[str, dict[str, Any]] = {
    "static": LOOK | {"color": SERIES[2], "marker": "D"},
    "in Hugging Face's model": LOOK | {"color": SERIES[2], "marker": "D", "mfc": PAPER},
    "EAT": LOOK | {"color": SERIES[0], "marker": "o", "linestyle": "-"},
    "as printed": LOOK | {"color": SERIES[1], "marker": "s", "linestyle": "-"},
    "fixed depth": LOOK | {"color": MUTED, "marker": "o", "mfc": PAPER, "linestyle": ":"},
}


def draw_frontier(study: Study, ax: Any, panel: tuple[str, str]) -> None:
    task, title = panel
    lines = {"static": ("minilm", ""), "EAT": ("eat_pruned", ""), "as printed": ("eat_paper", "")}
    counted = {"fixed depth": ("eat_pruned", FIXED)}
    timed = {"in Hugging Face's model": ("minilm", THEIRS)}
    for name, (model, baseline) in (lines | (counted if title == "GFLOPs" else timed)).items():
        points = study.points(task=task, model=model, baseline=baseline)
        draw_line(ax, points, COSTS[title], LOOKS[name])
    ax.set_xlabel(title)
    ax.margins(0.1)
    if title == "GFLOPs":
        ax.set_ylabel(f"right on {TASKS[task]} (%)")


def draw_line(ax: Any, points: Sequence[Mark], cost: Cost, look: dict[str, Any]) -> None:
    """The settings of one model by cost, each with the interval of its accuracy."""
    at = []
    for point in points:
        costs = [found.value for m in point.members if (found := cost(m.row))]
        at.append((float(np.mean(costs)), accuracy_interval(point).times(100)))
    at.sort(key=lambda one: one[0])
    for x, y in at:
        dot(ax, x, y, {"alpha": 0.3}, **look | {"linestyle": ""})
    line = {key: look[key] for key in ("color", "linestyle")}
    ax.plot([x for x, _ in at], [y.value for _, y in at], linewidth=1, **line)


@dataclass
class Twelve:
    """A backbone of BERT-base's size, its distilled half, and EAT on both; gentle: 0.1 of the
    tokens dropped twice instead of 0.3, timed beside the half again."""

    study: Study
    gentle: Study

    def static(self, model: str, study: Study | None = None) -> Mark:
        return next(iter((study or self.study).points(baseline="", model=model)))

    def eat(self, layers: int, tau: float, gentle: bool = False) -> Entry:
        study = self.gentle if gentle else self.study
        found = study.points(baseline="", model="eat_pruned", num_layers=layers)
        return Entry(study, next(p for p in found if p.row.point == tau))

    def over_half(self, entry: Entry) -> Interval | None:
        """Times as fast as the distilled half at batch 1."""
        return faster(entry.point, self.static("distilbert", entry.study), single_ms)

    def table(self) -> Table:
        whole, half = self.static("bert"), self.static("distilbert")
        entries = [Entry(self.study, whole), Entry(self.study, half)]
        entries += [self.eat(6, 0.8), self.eat(6, 0.9)]
        entries += [self.eat(12, tau, gentle) for gentle in (False, True) for tau in (0.8, 0.9)]

        def against(other: Mark) -> Any:
            return lambda e: None if e.point is other else difference(e.point, other)

        help = f"points; {col.PAIRED}"
        columns = [
            col.word("model", "model", self.name_of),
            *picked("accuracy depth flops_ratio latency_ms"),
            col.interval("own", "speed-up over own static", lambda e: speed_up(e.point), EXTREMES),
            col.interval("half", "speed-up over half", self.over_half, EXTREMES, against=1),
            col.points("to_whole", "Δ 12 layers", against(whole), help),
            col.points("to_half", "Δ half", against(half), help),
            *picked("gain"),
        ]
        columns = [replace(column, group="") for column in columns]
        caption = "MPNet on SST-2, one thread. Half: six layers, distilled from the twelve."
        return col.table("twelve", "Twelve layers", caption, columns, entries)

    def name_of(self, entry: Entry) -> str:
        row, dropped = entry.point.row, entry.point.row.reduction.arguments.get("ratio")
        if dropped is None:
            return {"bert": "12 layers, static", "distilbert": "half, static"}[row.model]
        return f"EAT, {row.num_layers} layers, {dropped} dropped twice, {entry.point.setting}"


def retention_table(tasks: Tasks) -> Table:
    columns = [
        col.word("task", "task"),
        col.number("scheduled", "scheduled", digits=3, help="0.7 x 0.7"),
        col.number("with_cls", "with [CLS]", digits=3, help="if nothing were rounded"),
        col.number("counted", "with ceil()", digits=3, help="algorithm 1's count"),
        col.number(WHOLE, "observed", digits=3, help="every layer run"),
        col.number("short", "shortest quarter", digits=3),
        col.number("long", "longest quarter", digits=3),
        col.number("exits", "with exits, tau 0.9", digits=3, help="at the last layer run"),
    ]
    caption = "Share of the tokens that enter the last layer, mean over examples."
    lines = [retention_line(task, kept) for task, kept in tasks.kept.items()]
    return col.table("retention", "Tokens kept", caption, columns, lines, None)


def retention_line(task: str, kept: Kept) -> dict[str, Any]:
    e, ends = kept.examples, quarters(kept.examples["length"])
    short, long = (within(e, ends[i])[WHOLE].mean() for i in (0, -1))
    found = {"task": TASKS[task], "scheduled": kept.scheduled, "short": short, "long": long}
    return {**e.mean().to_dict(), **found, "exits": e["tau 0.9"].mean()}


def retention_figure(tasks: Tasks) -> Figure:
    """Left: tokens by layer; right: by length."""

    def draw(drawing: Any) -> None:
        left, right = drawing.subplots(1, 2, width_ratios=(2, 3))
        scheduled = [1, 1, 0.7, 0.7, 0.49, 0.49]
        left.plot(range(1, 7), scheduled, "--", color=INK, ds="steps-mid", label="scheduled")
        for k, (task, kept) in enumerate(tasks.kept.items()):
            draw_kept(left, right, TASKS[task], kept, SERIES[k])
        right.axhline(0.49, linestyle="--", color=INK, linewidth=1)
        left.set(xlabel="layer", ylabel="share of the tokens that enter it", ylim=(0.4, 1.03))
        right.set(xlabel="tokens of the input", ylabel="left at the last layer", xscale="log")
        right.set_xticks([5, 10, 20, 50, 100, 200], ["5", "10", "20", "50", "100", "200"])
        right.minorticks_off()
        drawing.legend(*left.get_legend_handles_labels(), loc="outside upper left", ncols=4)

    caption = "Every layer run. Right: means of eighths of the examples; the line counts."
    return Figure("retention", "Scheduled and observed retention", caption, draw, (7.2, 3.0))


def draw_kept(left: Any, right: Any, task: str, kept: Kept, color: str) -> None:
    tokens_LB, e = kept.found.records[0].tokens_LB, kept.examples
    shares_L = (tokens_LB / tokens_LB[0]).mean(1)
    look: dict[str, Any] = {"color": color, "marker": "o", "markersize": 4}
    left.plot(range(1, len(shares_L) + 1), shares_L, ds="steps-mid", label=task, **look)
    parts = [within(e, ends) for ends in quarters(e["length"], 8)]
    at = [(part["length"].mean(), part[WHOLE].mean()) for part in parts]
    right.plot(*zip(*at, strict=True), linestyle="", zorder=3, **look)
    if task == TASKS["mnli"]:  # which has the longest inputs
        length_T = np.arange(6, e["length"].max() + 1)
        right.plot(length_T, staircase(length_T, kept.ratios), color=MUTED, linewidth=0.8)


def exits_table(tasks: Tasks) -> Table:
    columns = [
        col.word("task", "task"),
        col.word("where", "exit"),
        col.spread("share", "share", help="percent of the examples"),
        col.percent("accuracy", "right", help="percent of the examples that left there"),
        col.percent(
            "last", "last layer", help="accuracy of the last layer on the same examples, percent"
        ),
        col.points("to_last", "Δ last layer", help=f"points of the whole set; {col.PAIRED}"),
    ]
    lines = [line for task in TASKS for line in tasks.exits(task).values()]
    return col.table("exits", "Exits by layer at tau 0.9", "", columns, lines)


def exits_figure(tasks: Tasks) -> Figure:
    def draw(ax: Any, task: str) -> None:
        draw_shares(ax, tasks.rules[task])
        ax.set_title(TASKS[task])

    labels, size = ("examples (%)", ""), (2.4, 2.0)
    caption = "Share of the examples that leave after each layer."
    return in_panels("exits", "Where examples leave", caption, [*TASKS], draw, labels, size)


def cost_line(entry: Entry) -> dict[str, Any]:
    """Cost as shares of own static's, seeds averaged: by formulas (4) and (5), counted, timed."""
    widths = {"alpha": 4.0 * WIDTH, "beta": 8.0 * WIDTH**2 + 4.0 * WIDTH * INNER}
    found = [expected(entry.study, m) for m in entry.point.members]
    terms = [replace(each, **widths).terms for each in found if each is not None]
    times = [speed_up(entry.point, prefix) for prefix in ("", "batch_")]
    single, batch = (found and found.inverse.value for found in times)
    return {
        **{key: float(np.mean([t[key] for t in terms])) for key in ("tokens", "ratio")},
        "attention": 100 * float(np.mean([t["attention"] for t in terms])),
        **{"task": TASKS[entry.point.row.task], "name": name_of(entry)},
        "counted": entry.point.mean("flops_ratio"),
        **{"single": single, "batch": batch},
    }


def cost_table(lines: Sequence[dict[str, Any]]) -> Table:
    columns = [
        col.word("task", "task"),
        col.word("name", "model"),
        col.number("tokens", "tokens", digits=1, help="mean number of input tokens"),
        col.number("attention", "attention, %", digits=1, help="quadratic part of a dense layer"),
        col.number("ratio", "(5) / (4)", digits=3, help="the paper's formulas"),
        col.number(
            "counted", "counted", digits=3, help="FLOPs of the layers that each example ran"
        ),
        col.number("single", "time, batch 1", digits=3),
        col.number("batch", "time, batch 32", digits=3),
    ]
    caption = "Shares of own static's cost, at tau 0.9."
    return col.table("cost", "Cost by formula, count and time", caption, columns, lines, None)


def training_table(statics: dict[str, Mark]) -> Table:
    """Data, steps and learning rate of each group of runs, with the accuracy of a static model."""
    columns = [
        col.word("name", "runs"),
        col.field("num_train_examples", "available examples", 0),
        col.field("steps", "steps (batch 32)", 0),
        col.values("lr", "learning rate"),
        col.accuracy(help="of the static model, percent"),
        col.number("published", "published", digits=1, help="MiniLM-L6-H384, percent"),
    ]

    def lines() -> Iterator[dict[str, Any]]:
        for name, point in statics.items():
            published = PUBLISHED[point.row.task] if point.row.model == "minilm" else None
            yield {"name": name, "point": point, "published": published}

    caption = "Each example was seen once; with the settings as printed, three times."
    return col.table("training", "Amount of training", caption, columns, lines(), None)
