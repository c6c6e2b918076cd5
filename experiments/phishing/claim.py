"""Phishing triage (EAT, section 10): what is handed on to costly analysis at a recall that is kept.

    python -m experiments phishing study=outputs/phishing

Needs the runs themselves, since kept rows hold no labels: python -m eat_lightning.train
experiment=phishing, then measure with split=validation and split=certificate, and certify
(experiments/phishing/page.md has the lines).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from pandas import DataFrame

from eat_lightning.report import columns as col
from eat_lightning.report.certified import Held, held_by, setting_of
from eat_lightning.report.claim import Claim
from eat_lightning.report.figures import INK, MARKERS, SERIES, Figure
from eat_lightning.report.intervals import roc_area, wilson
from eat_lightning.report.panels import dot
from eat_lightning.report.study import Measured, Study
from eat_lightning.report.table import Table

from .triage import POSITIVE, curve, handed_on, score_of, threshold_for

RECALLS = (0.95, 0.99, 0.995)
BAND = (0.85, 0.90, 0.92)  # EAT, section 10: tau in [0.85, 0.92]
STRICT = 0.99  # beyond the band: who is not nearly sure is ranked by the last layer
RARE = 0.01  # a share of positives as a mailbox has, beside that of the data
LEAST = 0.9  # recall from which on the curve is drawn
ERA = (
    "the mails' era: phishing is recent, ham and spam are of 2002, and the difference in era "
    "flatters every score"
)
ERA_TASK = "email_phish_spam"

RULE = [col.word("model", "model"), col.word("rule", "rule")]
DEPTH = col.number("depth", "depth", "row.depth", help="layers run, mean")
FLOPS = col.number("flops", "FLOPs", "row.flops_ratio", 3, "of the same body static")
TWO: dict[str, Any] = {"digits": 2}
POSITIVES = "percent of validation's positives; 95 % Wilson"
ASKED = "percent at a recall asked of 0.99; 95 % Wilson"
COLUMNS = [
    *RULE,
    col.number("accuracy", "accuracy", help="percent, at the answer's own class"),
    DEPTH,
    FLOPS,
    col.number("asked", "recall asked", digits=1, help="of the positives, in expectation"),
    col.percent("recall", "recall got", help=POSITIVES, **TWO),
    col.percent("all", "handed on", help="percent of all, as mixed here; 95 % Wilson", **TWO),
    col.percent("negatives", "of the others", help="percent of those no positives", **TWO),
    col.number("saved", "saved", help="percent of the costly analyses, as mixed here"),
    col.number("rare", "saved at 1 %", help="the same where 1 % of the messages are positives"),
]
HELD_COLUMNS = [
    col.word("model", "model"),
    col.word("name", "certificate"),
    col.word("rule", "exits"),
    col.number("seen", "calibration", help="risk seen there, percent"),
    col.percent("risk", "validation", help="the same risk on other examples, percent; 95 %", **TWO),
    col.number("level", "level", digits=1, help="percent"),
    col.number("depth", "depth", "row.depth", help="layers run, mean, on validation"),
    FLOPS,
]
SOURCE_COLUMNS = [
    *RULE,
    col.word("source", "source"),
    col.count("n", "n", help="messages"),
    col.percent("right", "right", help="percent; 95 % Wilson", **TWO),
    col.percent("handed", "handed on", help=ASKED, **TWO),
    col.number("depth", "depth", help="layers run, mean"),
]


def claim(study: Study) -> Claim:
    """Tables and a figure for each task of two classes whose examples, with labels, are at hand."""
    whole = Claim("phishing", "Triage in front of costly analysis")
    for task in study.tasks:
        rows = [m for m in study.measured if m.row.task == task and two_classes(m)]
        held = held_by(study, [m for m in rows if m.row.split == "validation"])
        if rules := rules_of(rows, held):
            tables = tables_of(task, rules, held)
            notes = notes_of(task, rules[0])
            whole.add(answers(task, rules, held), tables, [figure_of(task, rules)], notes)
    return whole.or_lacking(
        "no task of two classes with rows of the splits validation and certificate, and "
        "labels, here: measure its runs with split=validation and split=certificate"
    )


class Rule:
    """An exit rule: its examples on validation, and what it hands on there at each recall by the
    threshold that the calibration part sets."""

    def __init__(self, name: str, validation: Measured, calibration: Measured):
        self.name, self.row = name, validation.row
        outcome = validation.known
        examples = {
            "score": score_of(validation),
            "depth": outcome.depth_B,
            "positive": validation.record.labels == POSITIVE,
            "right": validation.correct_B,
            "origin": validation.record.origins,
        }
        self.examples: Any = DataFrame(examples)
        known_B = calibration.record.labels == POSITIVE
        thresholds = {r: threshold_for(score_of(calibration), known_B, r) for r in RECALLS}
        self.judged = self.examples["score"].to_numpy(), self.examples["positive"].to_numpy()
        self.handed_on = {r: handed_on(*self.judged, at) for r, at in thresholds.items()}

    @property
    def tau(self) -> float:
        return self.row.point if isinstance(self.row.point, float) else 2.0

    def line(self, **cells: Any) -> dict[str, Any]:
        about = {"model": self.row.model, "rule": self.name, "row": self.row}
        return about | cells


def two_classes(measured: Measured) -> bool:
    """Kept examples have their right class first, so that all labels are 0."""
    outcome = None if measured.row.baseline else measured.outcome
    if outcome is None or outcome.logits_BC.shape[1] != 2:
        return False
    return len(np.unique(measured.record.labels)) == 2


def rules_of(rows: Sequence[Measured], chosen: Sequence[Held]) -> list[Rule]:
    """Full depth, the paper's band, one beyond it, and what certificates chose; of each run."""
    certified = {(held.measured.row.run, str(held.measured.row.exit)) for held in chosen}
    cut = [m for m in reversed(rows) if m.row.split == "certificate"]
    calibration = {(m.row.run, str(m.row.exit)): m for m in cut}
    found = []
    for m in rows:
        key, never = (m.row.run, str(m.row.exit)), m.row.exit.kind == "never"
        wanted = m.row.point in (*BAND, STRICT) or never or key in certified
        if m.row.split == "validation" and wanted and key in calibration:
            name = setting_of(m) + (", certified" if key in certified and not never else "")
            found.append(Rule(name, m, calibration[key]))
    return sorted(found, key=lambda rule: (rule.row.model, -rule.tau))


def tables_of(task: str, rules: Sequence[Rule], held: Sequence[Held]) -> list[Table]:
    """Triage, certificates, and, where the data say where each message comes from, by source."""
    triage = col.table(
        f"triage-{task}",
        f"Triage on {task}",
        "A message is handed on from a probability of the positive class on that the calibration "
        "part sets. " + confound(task),
        COLUMNS,
        [triage_line(rule, recall) for rule in rules for recall in RECALLS],
    )
    certificates = col.table(
        f"certified-{task}",
        f"Certificates on {task}, judged on validation",
        "What is promised is of samples drawn as the calibration part was. " + confound(task),
        HELD_COLUMNS,
        map(held_line, held),
    )
    sources = col.table(
        f"sources-{task}",
        f"By source on {task}",
        "Ham and spam of one era (sa_*) beside recent phishing. " + confound(task),
        SOURCE_COLUMNS,
        [line for rule in rules for line in source_lines(rule)],
    )
    return [triage, certificates, sources]


def confound(task: str) -> str:
    return f"Beside every figure: {ERA}." if task == ERA_TASK else ""


def triage_line(rule: Rule, recall: float) -> dict[str, Any]:
    """saved: percent of the costly analyses, as the messages are mixed here, and where positives
    are rare."""
    found = rule.handed_on[recall]
    return rule.line(
        accuracy=100 * (rule.row.accuracy or 0),
        asked=100 * recall,
        saved=100 * (1 - found.all.value),
        rare=100 * (1 - found.at(RARE)),
        **vars(found),
    )


def held_line(held: Held) -> dict[str, Any]:
    certificate, row = held.certificate, held.measured.row
    return {
        "model": row.model,
        "name": certificate.name,
        "rule": held.exits,
        "seen": 100 * (certificate.seen.get("risk") or 0.0),
        "risk": held.risk,
        "level": 100 * certificate.level,
        "row": row,
        "flags": [certificate.reason] if certificate.fallback else [],
    }


def source_lines(rule: Rule) -> Iterator[dict[str, Any]]:
    """List the outcomes of each source's messages."""
    for source, here in rule.examples.groupby("origin"):
        n, handed = len(here), here["score"] >= rule.handed_on[0.99].threshold
        shares = {"right": wilson(here["right"].sum(), n), "handed": wilson(handed.sum(), n)}
        yield rule.line(source=source, n=n, depth=here["depth"].mean(), **shares)


def figure_of(task: str, rules: Sequence[Rule]) -> Figure:
    """Plot the share handed on against the recall that is kept, a line for each exit rule."""
    first, share = rules[0].row.model, 100 * rules[0].examples["positive"].mean()

    def draw(drawing: Any) -> None:
        ax = drawing.subplots()
        for i, rule in enumerate(rules):
            title = rule.name if rule.row.model == first else f"{rule.row.model}, {rule.name}"
            look = {"color": SERIES[i % len(SERIES)], "marker": MARKERS[i % len(MARKERS)]}
            draw_rule(ax, rule, title, look)
        ax.axhline(share, color=INK, linewidth=0.7, linestyle=":")
        ax.text(100 * LEAST, share, " the positives' share", va="top", fontsize=6.5)
        ax.set(xlabel="recall kept, %", ylabel="handed on to costly analysis, %")
        ax.set_xlim(100 * LEAST - 0.3, 100.3)
        ax.legend(loc="upper left")

    caption = (
        "For every threshold the recall that validation shows and what is handed on; marks: "
        f"thresholds that the calibration part sets for {', '.join(map(str, RECALLS))}, with the "
        "95 % interval of their recall. " + confound(task)
    )
    return Figure(f"triage-{task}", f"Triage on {task}", caption, draw, (5.6, 3.6))


def draw_rule(ax: Any, rule: Rule, title: str, look: dict[str, Any]) -> None:
    recall, share = curve(*rule.judged)
    shown = recall >= LEAST
    at = 100 * recall[shown], 100 * share[shown]
    ax.step(*at, where="pre", color=look["color"], label=title)
    for found in rule.handed_on.values():
        recall = replace(found.recall, low=max(LEAST, found.recall.low)).times(100)
        dot(ax, recall, 100 * found.all.value, markersize=6, **look)


def answers(task: str, rules: Sequence[Rule], held: Sequence[Held]) -> Iterator[str]:
    for rule in rules:
        parts = [
            f"recall {line['asked']:g} % asked, {100 * line['recall'].value:.1f} % got: "
            f"{line['saved']:.1f} % of the analyses saved "
            f"({line['rare']:.1f} % where 1 % are positives)"
            for line in (triage_line(rule, recall) for recall in RECALLS)
        ]
        cost = f"depth {rule.row.depth:.2f}, FLOPs {rule.row.flops_ratio:.3f}"
        yield f"{task}, {rule.row.model}, {rule.name} ({cost}): {'; '.join(parts)}."
    for each in held:
        yield f"{task}, {each.answer}"
    if task == ERA_TASK:
        yield f"{task}: {ERA}."


def notes_of(task: str, rule: Rule) -> Iterator[str]:
    """How well one era's messages are told apart, beside all."""
    e = rule.examples
    if e["origin"].isna().any():
        return
    old = e["origin"].astype(str).str.startswith("sa_").to_numpy()
    if old.all() or not old.any():
        return
    score_B, positive_B = rule.judged
    parts = {"of one era (spam against ham, both of 2002)": old, "of two eras": ~old | ~positive_B}
    areas = [
        f"{what} {roc_area(score_B[here & positive_B], score_B[here & ~positive_B]):.4f}"
        for what, here in parts.items()
    ]
    yield f"{task}: area under the ROC curve, {rule.name}, {', '.join(areas)}."
