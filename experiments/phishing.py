"""Phishing triage (EAT, section 10): what is handed on to costly analysis at a recall that is kept.

    python experiments/phishing.py study=outputs/phishing

Needs the runs themselves, since kept rows hold no labels: python -m eat_lightning.train
experiment=phishing, then measure with split=validation and split=certificate, and certify
(experiments/phishing.md has the lines).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from eat_lightning.errors import ConfigError
from eat_lightning.report import cells
from eat_lightning.report.certified import Held, held_by
from eat_lightning.report.claim import Cell, Claim, Column, Figure, Line, Table
from eat_lightning.report.compare import source_of
from eat_lightning.report.panels import percent
from eat_lightning.report.statistics import Interval
from eat_lightning.report.study import Measured, Point, Study
from eat_lightning.report.triage import (
    POSITIVE,
    HandedOn,
    auc,
    handed_on,
    score_of,
    threshold_for,
)
from eat_lightning.report.triage_plot import triage_figure

RECALLS = (0.95, 0.99, 0.995)
BAND = (0.85, 0.90, 0.92)  # EAT, section 10: tau in [0.85, 0.92]
STRICT = 0.99  # beyond the band: who is not nearly sure is ranked by the last layer
RARE = 0.01  # a share of positives as a mailbox has, beside that of the data
ERA = (
    "the mails' era: phishing is recent, ham and spam are of 2002, and the difference in era "
    "flatters every score"
)
ERA_TASK = "email_phish_spam"
COLUMNS = [
    Column("model", "model", numeric=False),
    Column("rule", "rule", numeric=False),
    Column("accuracy", "accuracy", "percent, at the answer's own class"),
    Column("depth", "depth", "layers run, mean"),
    Column("flops", "FLOPs", "of the same body static"),
    Column("asked", "recall asked", "of the positives, in expectation"),
    Column("recall", "recall got", "percent of validation's positives; 95 % Wilson"),
    Column("all", "handed on", "percent of all messages, as mixed here; 95 % Wilson"),
    Column("negatives", "of the others", "percent of the messages that are no positives"),
    Column("saved", "saved", "percent of the costly analyses, as mixed here"),
    Column("rare", "saved at 1 %", "the same where 1 % of the messages are positives"),
]
HELD_COLUMNS = [
    Column("model", "model", numeric=False),
    Column("name", "certificate", numeric=False),
    Column("rule", "exits", numeric=False),
    Column("seen", "calibration", "risk seen there, percent"),
    Column("risk", "validation", "the same risk on other examples, percent; 95 %"),
    Column("level", "level", "percent"),
    Column("depth", "depth", "layers run, mean, on validation"),
    Column("flops", "FLOPs", "of the same body static"),
]
SOURCE_COLUMNS = [
    Column("model", "model", numeric=False),
    Column("rule", "rule", numeric=False),
    Column("source", "source", numeric=False),
    Column("n", "n", "messages"),
    Column("right", "right", "percent; 95 % Wilson"),
    Column("handed", "handed on", "percent at a recall asked of 0.99; 95 % Wilson"),
    Column("depth", "depth", "layers run, mean"),
]


@dataclass
class Rule:
    """An exit rule on validation and on the calibration part."""

    name: str
    validation: Measured
    calibration: Measured

    def handed_on(self, recall: float) -> HandedOn:
        known, here = labels(self.calibration), labels(self.validation)
        threshold = threshold_for(score_of(self.calibration), known == POSITIVE, recall)
        return handed_on(score_of(self.validation), here == POSITIVE, threshold)


def claim(study: Study) -> Claim:
    """Tables and a figure for each task of two classes whose examples, with labels, are at hand."""
    tables, figures, answer, notes = [], [], [], []
    for task in study.tasks:
        rows = [m for m in study.measured if m.row.task == task and two_classes(m)]
        rules = rules_of(study, rows)
        if not rules:
            continue
        held = held_by(study, [m for m in rows if m.row.split == "validation"])
        tables += [triage_table(task, rules), held_table(task, held), source_table(task, rules)]
        tables = [table for table in tables if table.lines]
        figures.append(figure_of(task, rules))
        answer += answers(task, rules, held)
        notes += notes_of(task, rules)
    if not tables:
        raise ConfigError(
            "no task of two classes with rows of the splits validation and certificate, and "
            "labels, here: measure its runs with split=validation and split=certificate"
        )
    return Claim("phishing", "Triage in front of costly analysis", answer, tables, figures, notes)


def labels(measured: Measured) -> np.ndarray:
    assert measured.outcome is not None
    return measured.outcome.recorded.labels


def two_classes(measured: Measured) -> bool:
    """Kept examples have their right class first, so that all labels are 0."""
    outcome = measured.outcome
    if measured.row.baseline or outcome is None or outcome.logits_BC.shape[1] != 2:
        return False
    return len(np.unique(outcome.recorded.labels)) == 2


def rules_of(study: Study, rows: Sequence[Measured]) -> list[Rule]:
    """Full depth, the paper's band, one beyond it, and what certificates chose; of each run."""
    chosen = held_by(study, [m for m in rows if m.row.split == "validation"])
    certified = {(held.measured.row.run, str(held.measured.row.exit)) for held in chosen}
    found = []
    for m in rows:
        key = m.row.run, str(m.row.exit)
        wanted = m.row.point in (*BAND, STRICT) or m.row.exit["kind"] == "never" or key in certified
        if m.row.split == "validation" and wanted:
            twins = [
                other
                for other in rows
                if other.row.split == "certificate" and (other.row.run, str(other.row.exit)) == key
            ]
            name = Point([m]).setting.replace("never", "full depth").replace("static", "full depth")
            name += ", certified" if key in certified and m.row.exit["kind"] != "never" else ""
            found += [Rule(name, m, twin) for twin in twins[:1]]
    return sorted(found, key=lambda r: (r.validation.row.model, -tau(r)))


def tau(rule: Rule) -> float:
    found = rule.validation.row.point
    return found if isinstance(found, float) else 2.0


def of_rule(rule: Rule) -> dict[str, Cell]:
    row = rule.validation.row
    return {"model": cells.words(row.model), "rule": cells.words(rule.name)}


def cost_of(measured: Measured) -> dict[str, Cell]:
    row = measured.row
    return {"depth": cells.number(row.depth, 2), "flops": cells.number(row.flops_ratio, 3)}


def in_percent(found: Interval) -> Cell:
    low, high = 100 * found.low, 100 * found.high
    return Cell(100 * found.value, f"{100 * found.value:.2f} ({low:.2f} to {high:.2f})", low, high)


def triage_table(task: str, rules: Sequence[Rule]) -> Table:
    lines = []
    for rule in rules:
        for recall in RECALLS:
            found = rule.handed_on(recall)
            made = of_rule(rule) | cost_of(rule.validation)
            made |= {
                "accuracy": cells.number(100 * (rule.validation.row.accuracy or 0), 2),
                "asked": cells.number(100 * recall, 1),
                "recall": in_percent(found.recall),
                "all": in_percent(found.all),
                "negatives": in_percent(found.negatives),
                "saved": cells.number(100 * (1 - found.all.value), 2),
                "rare": cells.number(100 * (1 - found.at(RARE)), 2),
            }
            lines.append(Line(made, source_of(Point([rule.validation]))))
    caption = (
        "A message is handed on from a probability of the positive class on that the calibration "
        "part sets. " + confound(task)
    )
    return Table(f"triage-{task}", f"Triage on {task}", caption, COLUMNS, lines)


def confound(task: str) -> str:
    return f"Beside every figure: {ERA}." if task == ERA_TASK else ""


def held_table(task: str, held: Sequence[Held]) -> Table:
    lines = []
    for each in held:
        certificate, m = each.certificate, each.measured
        made = cost_of(m) | {
            "model": cells.words(m.row.model),
            "name": cells.words(certificate.name),
            "rule": cells.words("full depth" if certificate.fallback else Point([m]).setting),
            "seen": cells.number(100 * (certificate.seen.get("risk") or 0.0), 2),
            "risk": in_percent(each.risk),
            "level": cells.number(100 * certificate.level, 1),
        }
        flags = (certificate.reason,) if certificate.fallback else ()
        lines.append(Line(made, source_of(Point([m])), flags))
    caption = (
        "What is promised is of samples drawn as the calibration part was. " + confound(task)
    ).strip()
    title = f"Certificates on {task}, judged on validation"
    return Table(f"certified-{task}", title, caption, HELD_COLUMNS, lines)


def source_table(task: str, rules: Sequence[Rule]) -> Table:
    """Where the data say where each message comes from."""
    lines = []
    for rule in rules:
        outcome = rule.validation.outcome
        if outcome is None or outcome.recorded.origins is None:
            continue
        origins, known = np.array(outcome.recorded.origins), labels(rule.validation)
        right_B = outcome.logits_BC.argmax(1) == known
        handed_B = score_of(rule.validation) >= rule.handed_on(0.99).threshold
        for source in np.unique(origins):
            here_B = origins == source
            made = of_rule(rule) | {
                "source": cells.words(str(source)),
                "n": cells.words(int(here_B.sum())),
                "right": in_percent(share(right_B[here_B])),
                "handed": in_percent(share(handed_B[here_B])),
                "depth": cells.number(float(outcome.depth_B[here_B].mean()), 2),
            }
            lines.append(Line(made, source_of(Point([rule.validation]))))
    return Table(
        f"sources-{task}",
        f"By source on {task}",
        "Ham and spam of one era (sa_*) beside recent phishing. " + confound(task),
        SOURCE_COLUMNS,
        lines,
    )


def share(here_B: np.ndarray) -> Interval:
    from eat_lightning.report.statistics import wilson

    return wilson(int(here_B.sum()), len(here_B))


def figure_of(task: str, rules: Sequence[Rule]) -> Figure:
    first = rules[0].validation.row.model
    caption = (
        "For every threshold the recall that validation shows and what is handed on; marks: "
        f"thresholds that the calibration part sets for {', '.join(map(str, RECALLS))}, with the "
        "95 % interval of their recall. " + confound(task)
    )
    drawn = [
        (
            r.name if r.validation.row.model == first else f"{r.validation.row.model}, {r.name}",
            r.validation,
            [r.handed_on(recall) for recall in RECALLS],
        )
        for r in rules
    ]
    prevalence = float((labels(rules[0].validation) == POSITIVE).mean())
    return triage_figure(task, drawn, prevalence, caption)


def answers(task: str, rules: Sequence[Rule], held: Sequence[Held]) -> list[str]:
    found = []
    for rule in rules:
        row = rule.validation.row
        told = []
        for recall in RECALLS:
            each = rule.handed_on(recall)
            told.append(
                f"recall {100 * recall:g} % asked, {100 * each.recall.value:.1f} % got: "
                f"{100 * (1 - each.all.value):.1f} % of the analyses saved "
                f"({100 * (1 - each.at(RARE)):.1f} % where 1 % are positives)"
            )
        cost = f"depth {row.depth:.2f}, FLOPs {row.flops_ratio:.3f}"
        found.append(f"{task}, {row.model}, {rule.name} ({cost}): {'; '.join(told)}.")
    for each in held:
        exits = "full depth" if each.certificate.fallback else Point([each.measured]).setting
        found.append(
            f"{task}, {each.certificate.name}: {exits}, on validation {percent(each.risk)}."
        )
    return [*found, f"{task}: {ERA}."] if task == ERA_TASK else found


def notes_of(task: str, rules: Sequence[Rule]) -> list[str]:
    """How well one era's messages are told apart, beside all."""
    outcome = rules[0].validation.outcome
    if outcome is None or outcome.recorded.origins is None:
        return []
    old_B = np.array([str(o).startswith("sa_") for o in outcome.recorded.origins])
    if old_B.all() or not old_B.any():
        return []
    scores, positive_B = score_of(rules[0].validation), labels(rules[0].validation) == POSITIVE
    recent_B = ~old_B | ~positive_B
    told = {"of one era (spam against ham, both of 2002)": old_B, "of two eras": recent_B}
    said = [f"{what} {auc(scores[here], positive_B[here]):.4f}" for what, here in told.items()]
    return [f"{task}: area under the ROC curve, {rules[0].name}, {', '.join(said)}."]


if __name__ == "__main__":
    from eat_lightning.report.__main__ import show_claim

    show_claim(__file__)
