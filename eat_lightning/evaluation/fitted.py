"""Fit exit rules and search reduction settings for each budget.

A run's exit rules are fitted together with its reduction (`runs.budgets`). A reduction with one
setting per layer is searched. Each trial is a pass over the parts of the calibration split that
checkpoint selection and temperatures used. The dev set is never read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from eat_lightning.data.calibration import FITTED_ON
from eat_lightning.errors import ConfigError
from eat_lightning.evaluation.plan import MeasureSettings, Subject
from eat_lightning.evaluation.settings import PlannedRow
from eat_lightning.methods.exit.never import Never
from eat_lightning.model.contracts import Reduction, overrides
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.flops import flops, static_flops
from eat_lightning.model.specification import STATIC
from eat_lightning.record.dial import Dial
from eat_lightning.record.measured import Measured
from eat_lightning.record.passes import record, score
from eat_lightning.record.point import Point
from eat_lightning.runs.budgets import Fitter
from eat_lightning.runs.run import Run


def fitted_settings(
    subject: Subject, encoder: AdaptiveEncoder, plan: MeasureSettings
) -> list[PlannedRow]:
    """Return one setting per exit rule and budget; nothing where there are no budgets."""
    if not (plan.budgets or plan.agree):
        return []
    measured = [setting for setting in subject.settings if not setting.baseline]
    rules: dict[str, PlannedRow] = {}  # by what they differ in beside where their knob stands
    for setting in reversed(measured):
        if (knob := setting.exit.knob) is not None:
            rules[str(setting.point.methods["exit"].without(knob.name))] = setting
    kinds = (s.point.methods["exit"].kind for s in measured if s.exit.knob is None)
    left = [kind for kind in dict.fromkeys(kinds) if kind != STATIC["exit"].kind]
    if rules and left:
        print(f"{subject.run.name}: not fitted for budgets: {', '.join(left)} (no knob to tune)")
    faults: list[str] = []
    found = [
        one for s in reversed(rules.values()) for one in fitted(s, subject, encoder, plan, faults)
    ]
    if faults and not found:
        raise ConfigError.of(faults)
    for fault in faults:
        print(f"not fitted: {fault}")
    return found


def fitted(
    setting: PlannedRow,
    subject: Subject,
    encoder: AdaptiveEncoder,
    plan: MeasureSettings,
    faults: list[str],
) -> list[PlannedRow]:
    """Fit a rule for each budget that it can meet. Reduction settings given by the user are kept.

    Args:
        faults: receives a line for each budget that the rule cannot meet.
    """
    backbone = setting.point.on(encoder)
    is_given = any(value is not None for value in plan.reduction.values())
    fits_reduction = plan.fit_reduction and not is_given
    form, threads = subject.form, plan.threads
    fitter = Fitter(subject.run, backbone, fits_reduction, form, threads, plan.data, plan.batch)
    found: list[PlannedRow] = []
    for budget in (*(plan.budgets or ()), *(plan.agree or ())):
        try:
            point = fitter.points(budget)[-1].point
        except ConfigError as error:
            faults.append(f"{error} ({setting.point.methods['exit'].kind})")
            continue
        found.append(replace(setting, point=setting.point.at(**point.methods), budget=budget))
    return found


def searched_settings(
    run: Run, encoder: AdaptiveEncoder, settings: Sequence[PlannedRow], plan: MeasureSettings
) -> list[PlannedRow]:
    """Search the run's own reduction for each budget given as a share of FLOPs, at full depth.

    Returns an empty list where the reduction has nothing to search.
    """
    searching = (s for s in settings if not s.baseline and searches(s.point))
    setting = next(searching, None)
    shares = [budget for budget in plan.budgets or () if budget.unit == "share"]
    if not shares or setting is None:
        return []
    data = run.data(**plan.data)
    splits = [data.split(part) for part in FITTED_ON]
    exit, reduction = Never(), setting.point.built["reduction"]
    deep = replace(setting.point, policies=()).at(exit=STATIC["exit"])

    def at(point: Sequence[float]) -> Point:
        turned = {reduction.knob.name: [*point]}
        return deep.at(reduction=deep.methods["reduction"].changed(turned))

    def evaluate(point: list[float]) -> tuple[float, float]:
        """Return the cost as a share of full FLOPs, and the main metric."""
        backbone = at(point).on(encoder)
        passes = [record(backbone, split, plan.batch) for split in splits]
        depth = backbone.shape.num_layers
        costs = [
            flops(backbone, exit, p.tokens_LB, np.full(len(p), depth), p.lengths)
            / static_flops(backbone, p.lengths)
            for p in passes
        ]
        logits_BC = np.concatenate([p.guesses[depth] for p in passes])
        found = score(run.task, logits_BC, np.concatenate([p.labels for p in passes]))
        return float(np.concatenate(costs).mean()), found[run.task.metrics[0]]

    best = reduction.search(evaluate)[::-1]
    points = [Measured(at(x.point), x.cost, accuracy=x.score) for x in best]
    own, dial = setting.point.policies, Dial("share", points, sum(map(len, splits)))
    try:
        return [
            PlannedRow(replace(dial.at(budget).point, policies=own), budget=budget)
            for budget in shares
        ]
    except ValueError as error:
        raise ConfigError(f"budgets: {run.name}: {error}") from None


def searches(point: Point) -> bool:
    """True if the settings of a reduction are found by search."""
    return overrides(point.built["reduction"], Reduction.search)
