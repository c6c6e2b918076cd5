"""The dial of a run: its operating points by budget or by agreement with full depth.

It is fitted once on the parts of the calibration split that checkpoint selection and temperatures
used, and stored beside the run. The dev set and the part reserved for certificates are never read,
so a certificate may be issued on top. The logits of every exit are stored too, so that fitting
another rule or another cost needs no further pass. If the reduction has a strength to tune, a few
of its points are tried, each with a pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from eat_lightning.data.calibration import FITTED_ON
from eat_lightning.errors import ConfigError, Faults
from eat_lightning.machine import processor
from eat_lightning.model.contracts import ExitRule, overrides, point_of
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.specification import Specification, kind_of
from eat_lightning.record.cost_table import CostTable, measured_table
from eat_lightning.record.dial import (
    Budget,
    Dial,
    Measured,
    Unit,
    best_of,
    conditions,
    dial_file,
    find_dial,
)
from eat_lightning.record.dial_fit import fit_dial, flops_shares, full_depth_share
from eat_lightning.record.passes import record
from eat_lightning.record.point import INT8_EXITS, Point
from eat_lightning.record.record import Record
from eat_lightning.runs.card import write_card
from eat_lightning.runs.identity import cut_of
from eat_lightning.runs.run import Run, write_json
from eat_lightning.runs.training_mark import training_faults
from eat_lightning.runs.validate import data_faults
from eat_lightning.weights.precision import PLAIN

INSTEAD = "a budget that is a share, such as 0.5"


@dataclass
class Fitter:
    """Fits the dial of an encoder.

    Args:
        run: the run that the encoder belongs to.
        fit_reduction: False keeps the reduction's strength.
        form: layout of the weights, which affects times.
        threads: CPU threads, which affect times.
        data: settings of the run's data to override, such as dir.
        batch: examples per batch.
        tabulate: measures the milliseconds of leaving at each exit.
    """

    run: Run
    encoder: AdaptiveEncoder
    fit_reduction: bool = True
    form: str = PLAIN
    threads: int = 1
    data: dict[str, Any] = field(default_factory=dict)
    batch: int = 32
    tabulate: Callable[[AdaptiveEncoder, Any, int], CostTable] = measured_table

    def on(self, wanted: Budget | None) -> AdaptiveEncoder:
        """Return the encoder at the point for a budget, or at its current point for None.

        Raises:
            ConfigError: in one line, where no point meets the budget.
        """
        if wanted is None:
            return self.encoder
        return self.points(wanted)[-1].point.on(self.encoder)

    def points(self, wanted: Budget) -> list[Measured]:
        """Return the points of the dial from full depth to the requested one.

        Raises:
            ConfigError: in one line, where no point meets the budget.
        """
        try:
            points = self.dial(wanted).down_to(wanted)
            points[-1].point.on(self.encoder)
        except ValueError as error:
            raise ConfigError(f"{self.run.name}: {error}") from None
        return points

    def dial(self, wanted: Budget) -> Dial:
        """Return the stored dial for a unit of cost; fit and store it if there is none.

        Raises:
            ConfigError, ValueError: in one line, where it cannot be fitted.
        """
        unit, here = wanted.cost_unit, self.here
        if unit == "ms":
            place = self.encoder.strength.device
            device = processor() if place.type == "cpu" else str(place)
            here = here | {"form": self.form, "threads": self.threads, "device": device}
        dial = find_dial(self.run.folder, unit, here)
        if dial is None:
            title = f"{self.run.name}: {wanted.key}={wanted}"
            Faults(f"{title}: {fault}" for fault in self.faults(unit)).check()
            dial = self.fitted(unit, here)
            path = dial_file(self.run.folder, "dial", here | {"unit": unit}, "json")
            try:
                write_json(path, dial.as_dict())
                write_card(self.run)
            except OSError as error:
                raise ConfigError(f"{path}: cannot be written ({error.strerror})") from None
        return dial

    @cached_property
    def here(self) -> dict[str, Any]:
        """Return the conditions of this run and encoder under which a stored dial is valid."""
        here = conditions(self.run.folder / "model", self.encoder, self.fit_reduction)
        return here | {"cut": cut_of(self.run)}

    def fitted(self, unit: Unit, here: dict[str, Any]) -> Dial:
        """Return the Pareto front of cost against agreement with full depth, over all reductions.

        Full depth refers to the reduction at its current strength.
        """
        backbones = [Point().at(reduction=each).on(self.encoder) for each in self.reductions]
        records = [self.record(backbone) for backbone in backbones]
        original_BC = records[0].full_BC
        points, times = [], None
        for reduction, backbone, said in zip(self.reductions, backbones, records, strict=True):
            if unit == "share":
                costs = flops_shares(backbone, backbone.exit, said)
                full_cost = full_depth_share(backbone, said)
            else:
                table = self.table(backbone)
                costs, full_cost = table.costs(said.lengths), table.full_ms(said.lengths)
                times = asdict(table) if times is None else times
            found = fit_dial(backbone.exit, said, costs, full_cost, original_BC)
            points += [replace(x, point=x.point.at(reduction=reduction)) for x in found]
        if len(records) > 1:
            points = best_of(points)
        return Dial(unit, points, len(records[0]), here, times)

    def table(self, encoder: AdaptiveEncoder) -> CostTable:
        """Measure the milliseconds of leaving at each exit.

        Raises:
            ConfigError: where a training started meanwhile.
        """
        table = self.tabulate(encoder, max(self.splits, key=len), self.threads)
        Faults(training_faults(INSTEAD)).check()
        return table

    def faults(self, unit: Unit) -> Iterator[str]:
        """Yield the reasons against a fit that can be found before data is loaded."""
        if self.encoder.exit.knob is None:
            kind = kind_of("exit", type(self.encoder.exit))
            yield f"it needs an exit rule with a knob, such as tau, got {kind}"
        if not self.encoder.kind.comparable:
            yield "it needs task.tolerance or task.cuts, which define equal scores"
        if unit == "ms":
            yield from training_faults(INSTEAD)

    @cached_property
    def splits(self) -> list[Any]:
        """Return the parts of the calibration split that a fit may read.

        Raises:
            ConfigError: where they cannot be loaded.
        """
        Faults(f"{self.run.name}: {f}" for f in data_faults(self.run, **self.data)).check()
        data = self.run.data(**self.data)
        return [data.split(part) for part in FITTED_ON]

    @property
    def reductions(self) -> list[Specification | None]:
        """Return the reductions to try: the current one (None where it cannot be tuned), the
        strictest strength, and every other point of its grid.
        """
        knob, trained = self.encoder.reduction.knob, self.encoder.reduction
        if knob is None or not self.fit_reduction:
            return [None]
        own, here = Specification.of("reduction", trained), point_of(trained)
        others = [point for point in (knob.strict, *knob.grid[::2]) if point != here]
        return [own, *(own.changed({knob.name: point}) for point in others)]

    def record(self, backbone: AdaptiveEncoder) -> Record:
        """Return the logits of every exit on these parts, from the file beside the run if there is
        one.
        """
        path = self.cut_path(backbone)
        if not path.is_file():
            title = f"{self.run.name}: calibration, {path.stem}"
            parts = [record(backbone, split, self.batch, title) for split in self.splits]
            Record.concat(parts).to_parquet(path)
        try:
            return replace(Record.read(path), kind=backbone.kind)
        except ConfigError:
            raise ConfigError(f"{path}: damaged: delete it, and it is made again") from None

    def cut_path(self, backbone: AdaptiveEncoder) -> Path:
        """Path of the file beside the run that stores the logits of every exit."""
        observes = overrides(backbone.exit, ExitRule.observe)
        settings = ["weights", "cut", "dtype", "attention", *(["exit"] if observes else [])]
        settings += [key for key in ("sources", *INT8_EXITS) if key in self.here]
        named = Specification.of("reduction", backbone.reduction).as_dict()
        holds_for = {key: self.here[key] for key in settings} | {"reduction": named}
        return dial_file(self.run.folder, "cut", holds_for, "parquet")
