"""Adaptivity gain over several seeds: one paired bootstrap over the examples that all answered."""

from __future__ import annotations

import numpy as np

from eat_lightning.measure.gain import METRICS, Answers, Judged, mean_gains
from eat_lightning.report.statistics import Interval
from eat_lightning.report.study import Measured, Point, Study
from eat_lightning.runs.row import FIXED

CLOSE = 1e-4  # of the rows' own gains, which are of the same answers


def gain_of(study: Study, point: Point) -> Interval | None:
    """The gain as a fraction: one seed's as its row has it, the mean of several with the interval
    of `measure.gain.mean_gains`. None where rows or records do not say it."""
    rows = [m.row for m in point.members]
    values = [row.adaptivity_gain for row in rows if row.adaptivity_gain is not None]
    if len(values) < len(rows):
        return None
    low, high = rows[0].adaptivity_gain_low, rows[0].adaptivity_gain_high
    if len(rows) == 1 and low is not None and high is not None:
        return Interval(values[0], low, high)
    judged = [judged_of(study, m) for m in point.members]
    known = [each for each in judged if each is not None]
    if len(known) < len(rows) or len({len(each.labels_B) for each in known}) > 1:
        return None
    (found,) = mean_gains(known)
    # Kept records have no labels, so that only accuracy can be said anew of them.
    same = abs(found.value - np.mean(values)) < CLOSE
    return Interval(found.value, found.low, found.high) if same else None


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
    return Judged([own], fixed, recorded.labels, measured.row.metric, recorded.group_B)


def answers_of(measured: Measured) -> Answers | None:
    """A row's counted mean of FLOPs is spread over the examples as their tokens in the layers that
    they ran, since kept rows do not hold the widths to count each one's. One seed's interval is
    then that of exactly counted FLOPs to 0.001 points (SST-2, six layers)."""
    if measured.outcome is None:
        return None
    tokens_B = measured.outcome.tokens_LB.sum(0)
    flops_B = measured.row.flops * tokens_B / tokens_B.mean()
    return Answers(measured.outcome.logits_BC.argmax(1), flops_B)
