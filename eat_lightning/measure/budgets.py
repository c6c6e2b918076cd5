"""A run's exit rule and reduction, fitted for each budget that is asked for."""

from __future__ import annotations

from eat_lightning.measure.plan import MeasurePlan, Subject
from eat_lightning.measure.settings import Setting
from eat_lightning.model.contracts import knob_of
from eat_lightning.model.encoder import AdaptiveEncoder, with_slots
from eat_lightning.runs.budgets import Fitter


def fitted_settings(subject: Subject, encoder: AdaptiveEncoder, plan: MeasurePlan) -> list[Setting]:
    """One for each budget; none of baselines alone, without a knob, or for a regression. Where a
    person gives the reduction's settings, it stays as given."""
    run, settings = subject.run, subject.settings
    own = next((s for s in settings if not s.baseline and knob_of(s.exit) is not None), None)
    if not plan.budgets or own is None or run.task.regression:
        return []
    body = with_slots(encoder, **own.methods, policies=own.policies)
    is_given = any(value is not None for value in plan.reduction.values())
    fits_reduction = plan.fit_reduction and not is_given
    fitter = Fitter(run, body, fits_reduction, subject.form, plan.threads, plan.data, plan.batch)
    return [own.at(fitter.on(budget), budget) for budget in plan.budgets]
