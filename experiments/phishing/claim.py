"""Triage in front of costly analysis: tables, figures and sentences from counts.

`page` reads the kept counts. `claim` counts on runs of your own, which need rows of the splits
validation and certificate:

    eat report study=outputs/phishing claims=[experiments/phishing/claim.py]
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from eat_lightning.report import columns as col
from eat_lightning.report import result
from eat_lightning.report.figures import MARKERS, SERIES, Figure
from eat_lightning.report.intervals import Interval, wilson
from eat_lightning.report.panels import bare_rows, dot
from eat_lightning.report.result import Result
from eat_lightning.report.section import Section
from eat_lightning.report.study import Study, grouped_by
from eat_lightning.report.table import Table

from .rows import RECALLS, results_of

SHOWN_AT = 0.99  # the recall of columns that have one
RARE = 0.01  # a share of positives as a mailbox has, beside that of the data
ERA = (
    "phishing is recent, ham and spam are from 2002, and the difference in era improves every score"
)
ERA_TASK = "email_phish_spam"


def page(results: Path) -> Section:
    """The page's tables; the figure is of mails."""
    found = result.read(results / "rows.jsonl")
    whole = claim_of(found)
    whole.tables += [
        col.table("era", "Marks of the era", ERA, MARKS, of_kind(found, "era"), None),
        col.table("times", "Times", "", TIMES, of_kind(found, "time"), None),
    ]
    whole.figures = whole.figures[:1]
    whole.facts = list(facts_of(found))
    return whole


def claim(study: Study) -> Section:
    return claim_of(results_of(study)).or_lacking(
        "there is no binary task with labels and rows of the splits validation and "
        "certificate: measure its runs with split=validation and split=certificate"
    )


def claim_of(found: Sequence[Result]) -> Section:
    """Tables of each task."""
    whole = Section("phishing", "Triage in front of costly analysis")
    for task in dict.fromkeys(r["task"] for r in of_kind(found, "triage")):
        same = [r for r in found if r["task"] == task]
        rules = rules_of(same)
        whole.add(tables=tables_of(task, rules, same), figures=[figure_of(task, rules)])
    return whole


def of_kind(found: Sequence[Result], kind: str) -> list[Result]:
    return [r for r in found if r["kind"] == kind]


Rule = dict[float, Result]  # the counts of one exit rule by the recall asked


def rules_of(found: Sequence[Result]) -> list[Rule]:
    same = grouped_by(of_kind(found, "triage"), lambda r: (r["model"], r["rule"]))
    return [{r["recall"]: r for r in each} for each in same.values()]


def recall_got(r: Result) -> Interval:
    return wilson(r["kept"], r["positives"])


def flagged(r: Result) -> Interval:
    """The share of the negatives that is handed on."""
    return wilson(r["handed"] - r["kept"], r["n"] - r["positives"])


def saved_where_rare(r: Result) -> float:
    """Percent of the costly analyses that are saved where `RARE` of the messages are positives."""
    return 100 * (1 - RARE * recall_got(r).value - (1 - RARE) * flagged(r).value)


def name_of(r: Result) -> str:
    return r["rule"] if r["model"].startswith("eat") else f"{r['model']} (static)"


ALARMS = "percent of the negatives at that recall asked; 95 % Wilson"
SAVED = "percent of the costly analyses where 1 % of the messages are positives"


def at(recall: float, of: Any) -> Any:
    return lambda rule: of(rule[recall])


DEPTH = col.number("depth", "depth", help="layers run, mean")
FLOPS = col.number("flops_ratio", "FLOPs", digits=3, help="of the same backbone without exits")


TRIAGE = [
    col.word("rule", "rule", at(SHOWN_AT, name_of)),
    col.number("accuracy", "accuracy", at(SHOWN_AT, lambda r: 100 * r["right"] / r["n"])),
    col.number("depth", "depth", at(SHOWN_AT, lambda r: r["depth"])),
    col.number("flops", "FLOPs", at(SHOWN_AT, lambda r: r["flops_ratio"]), 3),
    *(
        col.percent(
            f"alarms_{recall}", f"false alarms at {recall:g} (%)", at(recall, flagged), ALARMS
        )
        for recall in RECALLS
    ),
    col.number(
        "got", "recall at target 0.99 (%)", at(0.99, lambda r: 100 * recall_got(r).value), 1
    ),
    col.number("rare", "saved at 0.99 (%)", at(0.99, saved_where_rare), 1, SAVED),
]
CERTIFICATES = [
    col.word("certificate", "certificate"),
    col.word("rule", "exits"),
    col.number("seen", "risk on calibration (%)", lambda r: 100 * r["seen"], 2),
    col.percent("risk", "validation, %", digits=2, help="95 % interval"),
    DEPTH,
    FLOPS,
]
MARKS = [
    col.word("mark", "mark"),
    *(col.number(name, name, digits=3) for name in ("all", "phishing against ham", "2002 alone")),
]
TIMES = [
    col.word("task", "task"),
    col.word("rule", "rule"),
    col.number("ms", "ms, batch size 1", digits=1),
    col.number("speed_up", "speed-up"),
    col.number("per_s", "messages/s, batch size 32", digits=0),
    col.number("batch_speed_up", "speed-up, batch size 32"),
]


def tables_of(task: str, rules: Sequence[Rule], found: Sequence[Result]) -> Iterator[Table]:
    caption = f"Caution: {ERA}." if task == ERA_TASK else ""

    def reason(item: Any) -> list[str]:
        return [item["reason"]] if isinstance(item, Result) and item["reason"] else []

    for name, title, columns, items in (
        ("triage", "Messages handed on", TRIAGE, rules),
        (
            "certified",
            "Certificates, evaluated on validation",
            CERTIFICATES,
            of_kind(found, "certificate"),
        ),
    ):
        yield col.table(f"{name}-{task}", f"{title}: {task}", caption, columns, items, None, reason)


def figure_of(task: str, rules: Sequence[Rule]) -> Figure:
    """The share of the negatives that each rule hands on, by the recall asked."""
    names = [f"{name_of(rule[SHOWN_AT])}" for rule in rules]

    def draw(drawing: Any) -> None:
        ax = drawing.add_subplot()
        for k, recall in enumerate(RECALLS):
            look: dict[str, Any] = {"color": SERIES[k], "marker": MARKERS[k]}
            for row, rule in enumerate(rules):
                dot(ax, flagged(rule[recall]).times(100), row + 0.2 * (k - 1), **look)
            ax.plot([], [], linestyle="", label=f"target recall {recall:g}", **look)
        bare_rows(ax, names)
        ax.set_xlabel("negatives handed on to costly analysis, % (false alarms)")
        ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, handlelength=1.0)

    title = f"False alarms on {task} by exit rule and recall"
    return Figure(f"triage-{task}", title, "", draw, (6.5, 3.2))


def facts_of(found: Sequence[Result]) -> Iterator[str]:
    for r in of_kind(found, "area"):
        yield f"{r['eras']}: {r['area']:.4f}"
    for r in of_kind(found, "thread"):
        yield f"{r['source']}: {100 * r['share']:.0f} % of the subject lines stand in train"
    for r in of_kind(found, "difference"):
        yield f"{r['task']}: {r['points'].text(sign='+')} points, p {r['p']:.3f}"
    for rule in rules_of([r for r in found if r["task"] == ERA_TASK]):
        r = rule[SHOWN_AT]
        yield f"{name_of(r)}: {100 * flagged(r).value:.0f} % {saved_where_rare(r):.1f} %"
