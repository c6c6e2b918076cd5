"""Fit exit rules and search reduction settings for each budget.

A run's exit rules are fitted together with its reduction (`runs.budgets`). A reduction with one
setting per layer is searched. Each trial is a pass over the parts of the calibration split that
checkpoint selection and temperatures used. The dev set is never read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

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
    dial, own = ReductionSearch.of(run, encoder, setting, plan).dial(), setting.point.policies
    try:
        return [
            PlannedRow(replace(dial.at(budget).point, policies=own), budget=budget)
            for budget in shares
        ]
    except ValueError as error:
        raise ConfigError(f"budgets: {run.name}: {error}") from None


@dataclass(frozen=True)
class ReductionSearch:
    """The values of a reduction's knob at full depth, each tried by a pass.

    Args:
        deep: the run's own point, without exits and policies.
    """

    task: Any
    encoder: AdaptiveEncoder
    deep: Point
    splits: Sequence[Any]
    batch: int

    @classmethod
    def of(
        cls, run: Run, encoder: AdaptiveEncoder, setting: PlannedRow, plan: MeasureSettings
    ) -> ReductionSearch:
        deep = replace(setting.point, policies=()).at(exit=STATIC["exit"])
        data = run.data(**plan.data)
        splits = [data.split(part) for part in FITTED_ON]
        return cls(run.task, encoder, deep, splits, plan.batch)

    def dial(self) -> Dial:
        """Return the best points that the reduction's own search finds."""
        found = self.deep.built["reduction"].search(self.evaluate)[::-1]
        points = [Measured(self.at(x.point), x.cost, accuracy=x.score) for x in found]
        return Dial("share", points, sum(map(len, self.splits)))

    def at(self, values: Sequence[float]) -> Point:
        knob = self.deep.built["reduction"].knob
        return self.deep.at(
            reduction=self.deep.methods["reduction"].changed({knob.name: [*values]})
        )

    def evaluate(self, values: list[float]) -> tuple[float, float]:
        """Return the cost as a share of full FLOPs, and the main metric."""
        backbone, exit = self.at(values).on(self.encoder), Never()
        passes = [record(backbone, split, self.batch) for split in self.splits]
        depth = backbone.shape.num_layers
        costs = [
            flops(backbone, exit, p.tokens_LB, np.full(len(p), depth), p.lengths)
            / static_flops(backbone, p.lengths)
            for p in passes
        ]
        logits_BC = np.concatenate([p.guesses[depth] for p in passes])
        found = score(self.task, logits_BC, np.concatenate([p.labels for p in passes]))
        return float(np.concatenate(costs).mean()), found[self.task.metrics[0]]


def searches(point: Point) -> bool:
    """True if the settings of a reduction are found by search."""
    return overrides(point.built["reduction"], Reduction.search)
