"""A run's exit rules, each with its reduction, fitted for each budget that is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from eat_lightning.measure.plan import MeasurePlan, Subject
from eat_lightning.measure.settings import STATIC, Setting
from eat_lightning.model.contracts import knob_of, spec
from eat_lightning.model.encoder import AdaptiveEncoder, with_slots
from eat_lightning.runs.budgets import Fitter


def fitted_settings(subject: Subject, encoder: AdaptiveEncoder, plan: MeasurePlan) -> list[Setting]:
    """One for each rule and budget; none of baselines alone, or for a regression."""
    if not plan.budgets or subject.run.task.regression:
        return []
    measured = [setting for setting in subject.settings if not setting.baseline]
    rules = {without_point(s.exit): s for s in reversed(measured) if knob_of(s.exit) is not None}
    if rules and (left := knobless(measured)):
        print(f"{subject.run.name}: not fitted for budgets: {', '.join(left)} (no knob to turn)")
    return [one for s in reversed(rules.values()) for one in fitted(s, subject, encoder, plan)]


def without_point(rule: Any) -> str:
    """What tells rules apart that differ in more than where their knob stands."""
    knob = knob_of(rule)
    return str({k: v for k, v in spec("exit", rule).items() if knob is None or k != knob.name})


def knobless(measured: Sequence[Setting]) -> list[str]:
    """Kinds that leave early and have nothing to fit."""
    kinds = (spec("exit", s.exit)["kind"] for s in measured if knob_of(s.exit) is None)
    return [kind for kind in dict.fromkeys(kinds) if kind != STATIC["exit"]["kind"]]


def fitted(
    own: Setting, subject: Subject, encoder: AdaptiveEncoder, plan: MeasurePlan
) -> list[Setting]:
    """A rule at each budget. Where a person gives the reduction's settings, it stays as given."""
    body = with_slots(encoder, **own.methods, policies=own.policies)
    is_given = any(value is not None for value in plan.reduction.values())
    fits_reduction = plan.fit_reduction and not is_given
    form, threads = subject.form, plan.threads
    fitter = Fitter(subject.run, body, fits_reduction, form, threads, plan.data, plan.batch)
    return [own.at(fitter.on(budget), budget) for budget in plan.budgets or ()]
