"""Adaptivity gain over several seeds: one paired bootstrap over the examples that all answered."""

from __future__ import annotations

import numpy as np

from eat_lightning.measure.gain import METRICS, Answers, Judged, mean_gains
from eat_lightning.report.statistics import Interval
from eat_lightning.report.study import Measured, Point, Study
from eat_lightning.runs.row import FIXED, Row

GAINS = ("adaptivity_gain", "mix_gain")
CLOSE = 1e-4  # of the rows' own gains, which are of the same answers


def gains_of(study: Study, point: Point) -> dict[str, Interval]:
    """The gains as fractions, by the fields of a row: one seed's as its row has them, the means of
    several with the intervals of `measure.gain.mean_gains`. None of what rows and records do not
    say; the records say `mix_gain` of older rows too."""
    rows = [m.row for m in point.members]
    said = {name: said_in(rows[0], name) for name in GAINS} if len(rows) == 1 else {}
    if all(said.get(name) is not None for name in GAINS):
        return {name: interval for name, interval in said.items() if interval is not None}
    values = [row.adaptivity_gain for row in rows if row.adaptivity_gain is not None]
    judged = [each for m in point.members if (each := judged_of(study, m)) is not None]
    several_sets = len({len(each.labels_B) for each in judged}) != 1
    found: dict[str, Interval] = {}
    if len(values) == len(judged) == len(rows) and not several_sets:
        (both,) = mean_gains(judged)
        # Kept records have no labels, so that only accuracy can be said anew of them.
        if abs(both.neighbours.value - np.mean(values)) < CLOSE:
            pairs = zip(GAINS, (both.neighbours, both.mix), strict=True)
            found = {name: Interval(gain.value, gain.low, gain.high) for name, gain in pairs}
    return found | {name: interval for name, interval in said.items() if interval is not None}


def said_in(row: Row, name: str) -> Interval | None:
    ends = [getattr(row, name + end) for end in ("", "_low", "_high")]
    return None if None in ends else Interval(*ends)


def judged_of(study: Study, measured: Measured) -> Judged | None:
    """A row's rule beside the fixed depths of the same recorded pass."""
    if measured.outcome is None or measured.row.metric not in METRICS:
        return None
    fixed = [
        answers
        for m in study.measured
        if m.folder == measured.folder
        and (m.row.baseline, m.row.examples) == (FIXED, measured.row.examples)
        and (answers := answers_of(m)) is not None
    ]
    own, recorded = answers_of(measured), measured.outcome.recorded
    if own is None or not fixed:
        return None
    metric, num_classes = measured.row.metric, recorded.num_classes
    return Judged([own], fixed, recorded.labels, metric, recorded.group_B, num_classes)


def answers_of(measured: Measured) -> Answers | None:
    """A row's counted mean of FLOPs is spread over the examples as their tokens in the layers that
    they ran, since kept rows do not hold the widths to count each one's. One seed's interval is
    then that of exactly counted FLOPs to 0.001 points (SST-2, six layers)."""
    if measured.outcome is None:
        return None
    tokens_B = measured.outcome.tokens_LB.sum(0)
    flops_B = measured.row.flops * tokens_B / tokens_B.mean()
    return Answers(measured.outcome.logits_BC.argmax(1), flops_B)
