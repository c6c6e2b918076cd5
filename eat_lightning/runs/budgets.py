"""Operating points for budgets: fitted once on a run's calibration cut, and kept beside the run.

Fitted on the parts that selection and temperatures used. Dev is not seen, nor the part that
certificates are made from, so a certificate may stand on top. Where the reduction has a knob, a few
of its points are tried, each with a pass of its own over the parts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from eat_lightning.data.calibration import FITTED_ON
from eat_lightning.errors import ConfigError
from eat_lightning.infer.budget import BudgetTooSmall, fit_budget, flops_shares
from eat_lightning.infer.cost_table import CostTable, measured_table
from eat_lightning.infer.precision import PLAIN
from eat_lightning.infer.record import record
from eat_lightning.infer.recorded import Recorded
from eat_lightning.model.contracts import point_of, turned
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.specification import spec
from eat_lightning.runs.card import write_card
from eat_lightning.runs.certificate import cut_of
from eat_lightning.runs.run import Run, processor, write_json
from eat_lightning.runs.training_mark import training_faults
from eat_lightning.runs.validate import data_faults
from eat_lightning.weights.operating_point import (
    Budget,
    OperatingPoint,
    Point,
    conditions,
    find,
    path_of,
)

INSTEAD = "a budget that is a share, such as 0.5"


@dataclass
class Pass:
    """What every exit said of the parts under one point of the reduction's knob (None: it has none,
    or stays)."""

    reduction: Point | None
    body: AdaptiveEncoder
    recorded: Recorded
    timed_on: Any  # a split
    threads: int

    @cached_property
    def shares_EB(self) -> np.ndarray:
        """What leaving at each exit costs, as shares of full FLOPs."""
        return flops_shares(self.body, self.body.exit, self.recorded)

    @cached_property
    def table(self) -> CostTable:
        """Milliseconds of leaving at each exit. ConfigError where training began meanwhile."""
        table = measured_table(self.body, self.timed_on, self.threads)
        if faults := training_faults(INSTEAD):
            raise ConfigError.of(faults)
        return table

    def fit(self, budget: Budget, here: dict[str, Any]) -> OperatingPoint:
        """here: what the point holds for."""
        table = self.table if budget.unit == "ms" else None
        cost_EB = self.shares_EB if table is None else table.cost_EB(self.recorded.lengths)
        fit = fit_budget(self.body.exit, self.recorded, cost_EB, budget.amount)
        return OperatingPoint(
            budget=str(budget),
            exit=fit.points,
            reduction=self.reduction,
            cost=fit.cost,
            accuracy=fit.accuracy,
            held_out=fit.held_out,
            num_examples=len(self.recorded),
            fitted_for=here,
            times=None if table is None else asdict(table),
        )


@dataclass
class Fitter:
    """Fits `encoder`, which is `run`'s. fit_reduction: false keeps the reduction's knob where it
    is. form, threads: of the weights and the processor, which decide times. data: settings of the
    run's data that differ, such as dir. batch: examples at once."""

    run: Run
    encoder: AdaptiveEncoder
    fit_reduction: bool = True
    form: str = PLAIN
    threads: int = 1
    data: dict[str, Any] = field(default_factory=dict)
    batch: int = 32

    def at(self, budget: Budget) -> OperatingPoint:
        """The point kept for a budget, or else fitted and kept now. ConfigError, in one line, where
        that cannot be."""
        here = conditions(self.run.folder / "model", self.encoder, self.fit_reduction)
        here["cut"] = cut_of(self.run)
        if budget.unit == "ms":
            place = self.encoder.strength.device
            device = processor() if place.type == "cpu" else str(place)
            here |= {"form": self.form, "threads": self.threads, "device": device}
        try:
            kept = find(self.run.folder, budget, here)
        except ValueError as error:
            raise ConfigError(str(error)) from None
        if kept is None:
            kept = self.fitted(budget, here)
            path = path_of(self.run.folder, kept)
            try:
                write_json(path, asdict(kept))
                write_card(self.run)
            except OSError as error:
                raise ConfigError(f"{path}: cannot be written ({error.strerror})") from None
        return kept

    def on(self, budget: Budget) -> AdaptiveEncoder:
        """The encoder at its point for a budget."""
        try:
            return self.at(budget).on(self.encoder)
        except ValueError as error:
            raise ConfigError(f"{self.run.name}: budget {budget}: {error}") from None

    def fitted(self, budget: Budget, here: dict[str, Any]) -> OperatingPoint:
        """The best of the points of the reduction, each with its fit of the exits, judged on folds
        that the fit left out: a search over more points finds more luck."""
        if faults := list(self.faults(budget)):
            raise ConfigError.of(f"{self.run.name}: budget={budget}: {fault}" for fault in faults)
        found, least = [], []
        for passed in self.passes:
            try:
                found.append(passed.fit(budget, here))
            except BudgetTooSmall as error:
                least.append(error.least)
        if not found:
            unit = " ms" if budget.unit == "ms" else ""
            raise ConfigError(
                f"{self.run.name}: budget must be at least {min(least):.3f}{unit}, what the first "
                f"exit costs, got {budget}"
            )
        return max(found, key=lambda point: (point.held_out, -point.cost))

    def faults(self, budget: Budget) -> Iterator[str]:
        """What stands against a fit, before data is loaded."""
        if self.encoder.exit.knob is None:
            kind = spec("exit", self.encoder.exit)["kind"]
            yield f"it needs an exit rule with a knob, such as tau, got {kind}"
        if self.run.task.regression:
            yield "it needs a task with classes, and this one is a regression"
        if budget.unit == "ms":
            yield from training_faults(INSTEAD)
        yield from data_faults(self.run, **self.data)

    @cached_property
    def passes(self) -> list[Pass]:
        """One for each point of the reduction's knob that is tried: where it stands, its strict
        end, and every other point of its grid."""
        knob, own = self.encoder.reduction.knob, point_of(self.encoder.reduction)
        points: list[Point | None] = [own if self.fit_reduction else None]
        if knob is not None and self.fit_reduction:
            points += [point for point in (knob.strict, *knob.grid[::2]) if point != own]
        data, batch = self.run.data(**self.data), self.batch
        splits = [data.split(part) for part in FITTED_ON]
        found = []
        for point in points:
            body = self.encoder
            if point is not None:
                body = body.replacing(reduction=turned(body.reduction, point))
            title = f"{self.run.name}: calibration, reduction at {point}"
            said = Recorded.joined([record(body, split, batch, title) for split in splits])
            found.append(Pass(point, body, said, max(splits, key=len), self.threads))
        return found
