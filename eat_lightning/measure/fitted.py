"""Fits and searches for each budget: knobs of exit rules and of reductions.

A run's exit rules are fitted with its reduction (`runs.budgets`). A reduction with a point for each
layer is searched. Every try is a pass over the parts of the calibration cut that selection and
temperatures used. Dev is not seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from eat_lightning.data.calibration import FITTED_ON
from eat_lightning.errors import ConfigError
from eat_lightning.measure.plan import MeasureSettings, Subject
from eat_lightning.measure.settings import Setting
from eat_lightning.methods.exit.never import Never
from eat_lightning.model.contracts import Reduction, at_point, overrides
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.flops import flops, static_flops
from eat_lightning.model.specification import STATIC, Specification, kind_of
from eat_lightning.record.passes import record, score
from eat_lightning.runs.budgets import Fitter
from eat_lightning.runs.run import Run
from eat_lightning.weights.dial import Budget


def fitted_settings(
    subject: Subject, encoder: AdaptiveEncoder, plan: MeasureSettings
) -> list[Setting]:
    """One for each rule and budget; none of baselines alone."""
    if not (plan.budgets or plan.agree):
        return []
    measured = [setting for setting in subject.settings if not setting.baseline]
    rules: dict[str, Setting] = {}  # by what they differ in beside where their knob stands
    for setting in reversed(measured):
        if (knob := setting.exit.knob) is not None:
            same = Specification.of("exit", setting.exit).without(knob.name)
            rules[str(same)] = setting
    kinds = (kind_of("exit", type(s.exit)) for s in measured if s.exit.knob is None)
    left = [kind for kind in dict.fromkeys(kinds) if kind != STATIC["exit"].kind]
    if rules and left:
        print(f"{subject.run.name}: not fitted for budgets: {', '.join(left)} (no knob to turn)")
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
    setting: Setting,
    subject: Subject,
    encoder: AdaptiveEncoder,
    plan: MeasureSettings,
    faults: list[str],
) -> list[Setting]:
    """A rule at each budget that it can keep. Where a person gives the reduction's settings, it
    stays as given.

    Args:
        faults: gets a line for each budget that it cannot keep.
    """
    backbone = encoder.replacing(**setting.methods, policies=setting.policies)
    is_given = any(value is not None for value in plan.reduction.values())
    fits_reduction = plan.fit_reduction and not is_given
    form, threads = subject.form, plan.threads
    fitter = Fitter(subject.run, backbone, fits_reduction, form, threads, plan.data, plan.batch)
    found: list[Setting] = []
    for budget in (*(plan.budgets or ()), *(plan.agree or ())):
        try:
            point = fitter.on(budget)
        except ConfigError as error:
            faults.append(f"{error} ({kind_of('exit', type(setting.exit))})")
            continue
        found.append(replace(setting, exit=point.exit, reduction=point.reduction, budget=budget))
    return found


def searched_settings(
    run: Run, encoder: AdaptiveEncoder, settings: Sequence[Setting], plan: MeasureSettings
) -> list[Setting]:
    """The run's own reduction at the best points found for each budget that is a share, at full
    depth. None where it does not search."""
    searching = (s for s in settings if not s.baseline and overrides(s.reduction, Reduction.search))
    setting = next(searching, None)
    shares = [budget for budget in plan.budgets or () if budget.unit == "share"]
    if not shares or setting is None:
        return []
    data = run.data(**plan.data)
    splits = [data.split(part) for part in FITTED_ON]
    exit, methods = Never(), {"attention": setting.attention, "exit": Never()}

    def evaluate(point: list[float]) -> tuple[float, float]:
        """Cost as a share of full FLOPs, and the main metric."""
        backbone = encoder.replacing(
            **methods, reduction=at_point(setting.reduction, point), policies=()
        )
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

    best = setting.reduction.search(evaluate)
    return [within(run, setting, best, budget) for budget in shares]


def within(run: Run, setting: Setting, best: Sequence[Any], budget: Budget) -> Setting:
    """The last of `best` (of growing cost and score) that the budget allows."""
    cheap = [found for found in best if found.cost <= budget.amount]
    if not cheap:
        least = best[0].cost
        raise ConfigError(
            f"budgets: {run.name}: budget must be at least {least:.3f}, what the shortest lengths "
            f"cost, got {budget}"
        )
    point = list(cheap[-1].point)
    return replace(
        setting, reduction=at_point(setting.reduction, point), exit=Never(), budget=budget
    )
