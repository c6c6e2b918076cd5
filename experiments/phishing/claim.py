"""Phishing triage (EAT, section 10): what is handed on to costly analysis at a recall that is kept.

    python -m experiments phishing study=outputs/phishing

Needs the runs themselves, since kept rows hold no labels: python -m eat_lightning.train
experiment=phishing, then measure with split=validation and split=certificate, and certify
(experiments/phishing.md has the lines).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from eat_lightning.report.certified import Held, held_by, setting_of
from eat_lightning.report.claim import Claim, Figure, Source, Table
from eat_lightning.report.columns import count, number, percent, table, word
from eat_lightning.report.compare import source_of
from eat_lightning.report.statistics import Interval, wilson
from eat_lightning.report.study import Measured, Point, Study

from .figure import triage_figure
from .triage import (
    POSITIVE,
    HandedOn,
    auc,
    handed_on,
    score_of,
    threshold_for,
)

RECALLS = (0.95, 0.99, 0.995)
BAND = (0.85, 0.90, 0.92)  # EAT, section 10: tau in [0.85, 0.92]
STRICT = 0.99  # beyond the band: who is not nearly sure is ranked by the last layer
RARE = 0.01  # a share of positives as a mailbox has, beside that of the data
ERA = (
    "the mails' era: phishing is recent, ham and spam are of 2002, and the difference in era "
    "flatters every score"
)
ERA_TASK = "email_phish_spam"


@dataclass
class Rule:
    """An exit rule on validation and on the calibration part."""

    name: str
    validation: Measured
    calibration: Measured

    @property
    def row(self) -> Any:
        return self.validation.row

    @property
    def source(self) -> Source:
        return source_of(Point([self.validation]))

    @property
    def positive_B(self) -> np.ndarray:
        return labels(self.validation) == POSITIVE

    def handed_on(self, recall: float) -> HandedOn:
        known = labels(self.calibration) == POSITIVE
        threshold = threshold_for(score_of(self.calibration), known, recall)
        return handed_on(score_of(self.validation), self.positive_B, threshold)


@dataclass
class Asked:
    """A rule at a recall that is asked for."""

    rule: Rule
    asked: float
    found: HandedOn

    @property
    def saved(self) -> float:
        """Percent of the costly analyses, as the messages are mixed here."""
        return 100 * (1 - self.found.all.value)

    @property
    def rare(self) -> float:
        """The same where positives are rare."""
        return 100 * (1 - self.found.at(RARE))


@dataclass
class Sent:
    """What becomes of one source's messages."""

    rule: Rule
    source: str
    n: int
    right: Interval
    handed: Interval
    depth: float


RULE = [word("model", "model", "rule.row.model"), word("rule", "rule", "rule.name")]
COLUMNS = [
    *RULE,
    number(
        "accuracy",
        "accuracy",
        lambda a: 100 * (a.rule.row.accuracy or 0),
        2,
        "percent, at the answer's own class",
    ),
    number("depth", "depth", "rule.row.depth", 2, "layers run, mean"),
    number("flops", "FLOPs", "rule.row.flops_ratio", 3, "of the same body static"),
    number(
        "asked",
        "recall asked",
        lambda a: 100 * a.asked,
        1,
        "of the positives, in expectation",
    ),
    percent(
        "recall",
        "recall got",
        "found.recall",
        "percent of validation's positives; 95 % Wilson",
        2,
    ),
    percent("all", "handed on", "found.all", "percent of all, as mixed here; 95 % Wilson", 2),
    percent("negatives", "of the others", "found.negatives", "percent of those no positives", 2),
    number("saved", "saved", "saved", 2, "percent of the costly analyses, as mixed here"),
    number("rare", "saved at 1 %", "rare", 2, "the same where 1 % of the messages are positives"),
]
HELD_COLUMNS = [
    word("model", "model", "measured.row.model"),
    word("name", "certificate", "certificate.name"),
    word("rule", "exits", "exits"),
    number(
        "seen",
        "calibration",
        lambda h: 100 * (h.certificate.seen.get("risk") or 0.0),
        2,
        "risk seen there, percent",
    ),
    percent("risk", "validation", "risk", "the same risk on other examples, percent; 95 %", 2),
    number("level", "level", lambda h: 100 * h.certificate.level, 1, "percent"),
    number("depth", "depth", "measured.row.depth", 2, "layers run, mean, on validation"),
    number("flops", "FLOPs", "measured.row.flops_ratio", 3, "of the same body static"),
]
SOURCE_COLUMNS = [
    *RULE,
    word("source", "source", "source"),
    count("n", "n", "n", "messages"),
    percent("right", "right", "right", "percent; 95 % Wilson", 2),
    percent("handed", "handed on", "handed", "percent at a recall asked of 0.99; 95 % Wilson", 2),
    number("depth", "depth", "depth", 2, "layers run, mean"),
]


def claim(study: Study) -> Claim:
    """Tables and a figure for each task of two classes whose examples, with labels, are at hand."""
    whole = Claim("phishing", "Triage in front of costly analysis")
    for task in study.tasks:
        rows = [m for m in study.measured if m.row.task == task and two_classes(m)]
        held = held_by(study, [m for m in rows if m.row.split == "validation"])
        if rules := rules_of(rows, held):
            tables = tables_of(task, rules, held)
            notes = notes_of(task, rules)
            whole.add(answers(task, rules, held), tables, [figure_of(task, rules)], notes)
    return whole.or_lacking(
        "no task of two classes with rows of the splits validation and certificate, and "
        "labels, here: measure its runs with split=validation and split=certificate"
    )


def labels(measured: Measured) -> np.ndarray:
    return measured.known.recorded.labels


def two_classes(measured: Measured) -> bool:
    """Kept examples have their right class first, so that all labels are 0."""
    outcome = measured.outcome
    if measured.row.baseline or outcome is None or outcome.logits_BC.shape[1] != 2:
        return False
    return len(np.unique(outcome.recorded.labels)) == 2


def rules_of(rows: Sequence[Measured], chosen: Sequence[Held]) -> list[Rule]:
    """Full depth, the paper's band, one beyond it, and what certificates chose; of each run."""
    certified = {(held.measured.row.run, str(held.measured.row.exit)) for held in chosen}
    calibration = {
        (m.row.run, str(m.row.exit)): m for m in reversed(rows) if m.row.split == "certificate"
    }
    found = []
    for m in rows:
        key, never = (m.row.run, str(m.row.exit)), m.row.exit["kind"] == "never"
        wanted = m.row.point in (*BAND, STRICT) or never or key in certified
        if m.row.split == "validation" and wanted and key in calibration:
            name = setting_of(m) + (", certified" if key in certified and not never else "")
            found.append(Rule(name, m, calibration[key]))
    return sorted(found, key=lambda r: (r.row.model, -tau(r)))


def tau(rule: Rule) -> float:
    return rule.row.point if isinstance(rule.row.point, float) else 2.0


def tables_of(task: str, rules: Sequence[Rule], held: Sequence[Held]) -> list[Table]:
    """Triage, certificates, and, where the data say where each message comes from, by source."""
    triage = table(
        f"triage-{task}",
        f"Triage on {task}",
        "A message is handed on from a probability of the positive class on that the calibration "
        "part sets. " + confound(task),
        COLUMNS,
        [Asked(rule, recall, rule.handed_on(recall)) for rule in rules for recall in RECALLS],
        "rule.source",
    )
    certificates = table(
        f"certified-{task}",
        f"Certificates on {task}, judged on validation",
        ("What is promised is of samples drawn as the calibration part was. " + confound(task)),
        HELD_COLUMNS,
        held,
        lambda h: source_of(Point([h.measured])),
        lambda h: (h.certificate.reason,) if h.certificate.fallback else (),
    )
    sources = table(
        f"sources-{task}",
        f"By source on {task}",
        "Ham and spam of one era (sa_*) beside recent phishing. " + confound(task),
        SOURCE_COLUMNS,
        [sent for rule in rules for sent in by_source(rule)],
        "rule.source",
    )
    return [triage, certificates, sources]


def confound(task: str) -> str:
    return f"Beside every figure: {ERA}." if task == ERA_TASK else ""


def by_source(rule: Rule) -> Iterator[Sent]:
    outcome = rule.validation.known
    if outcome.recorded.origins is None:
        return
    origins = np.array(outcome.recorded.origins)
    right_B = outcome.logits_BC.argmax(1) == outcome.recorded.labels
    handed_B = score_of(rule.validation) >= rule.handed_on(0.99).threshold
    for source in np.unique(origins):
        here_B = origins == source
        shares = (share(right_B[here_B]), share(handed_B[here_B]))
        depth = float(outcome.depth_B[here_B].mean())
        yield Sent(rule, str(source), int(here_B.sum()), *shares, depth)


def share(here_B: np.ndarray) -> Interval:
    return wilson(int(here_B.sum()), len(here_B))


def figure_of(task: str, rules: Sequence[Rule]) -> Figure:
    first = rules[0].row.model
    caption = (
        "For every threshold the recall that validation shows and what is handed on; marks: "
        f"thresholds that the calibration part sets for {', '.join(map(str, RECALLS))}, with the "
        "95 % interval of their recall. " + confound(task)
    )
    drawn = [
        (
            r.name if r.row.model == first else f"{r.row.model}, {r.name}",
            r.validation,
            [r.handed_on(recall) for recall in RECALLS],
        )
        for r in rules
    ]
    return triage_figure(task, drawn, float(rules[0].positive_B.mean()), caption)


def answers(task: str, rules: Sequence[Rule], held: Sequence[Held]) -> Iterator[str]:
    for rule in rules:
        told = []
        for recall in RECALLS:
            each = Asked(rule, recall, rule.handed_on(recall))
            told.append(
                f"recall {100 * recall:g} % asked, {100 * each.found.recall.value:.1f} % got: "
                f"{each.saved:.1f} % of the analyses saved "
                f"({each.rare:.1f} % where 1 % are positives)"
            )
        cost = f"depth {rule.row.depth:.2f}, FLOPs {rule.row.flops_ratio:.3f}"
        yield f"{task}, {rule.row.model}, {rule.name} ({cost}): {'; '.join(told)}."
    for each in held:
        yield f"{task}, {each.answer}"
    if task == ERA_TASK:
        yield f"{task}: {ERA}."


def notes_of(task: str, rules: Sequence[Rule]) -> Iterator[str]:
    """How well one era's messages are told apart, beside all."""
    rule = rules[0]
    origins = rule.validation.known.recorded.origins
    if origins is None:
        return
    old_B = np.array([str(o).startswith("sa_") for o in origins])
    if old_B.all() or not old_B.any():
        return
    scores, positive_B = score_of(rule.validation), rule.positive_B
    recent_B = ~old_B | ~positive_B
    told = {"of one era (spam against ham, both of 2002)": old_B, "of two eras": recent_B}
    said = [f"{what} {auc(scores[here], positive_B[here]):.4f}" for what, here in told.items()]
    yield f"{task}: area under the ROC curve, {rule.name}, {', '.join(said)}."
