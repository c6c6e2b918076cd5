"""Exit rules fitted for budgets: shares of full FLOPs, on the parts of the calibration cut that
selection and temperatures used. Dev is not seen, nor the part that certificates are made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from eat_lightning.errors import ConfigError
from eat_lightning.infer.budget import fit_budget
from eat_lightning.infer.record import Recorded, record
from eat_lightning.measure.plan import MeasurePlan
from eat_lightning.measure.settings import Setting
from eat_lightning.model.contracts import knob_of, turned
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.flops import flops, static_flops
from eat_lightning.runs.run import Run

PARTS = ("select", "temperature")


def fitted_settings(
    run: Run, body: AdaptiveEncoder, settings: Sequence[Setting], plan: MeasurePlan
) -> list[Setting]:
    """The run's own exit rule with points for each exit, one setting for each budget. None for a
    body of baselines alone, or without a knob."""
    own = next((s for s in settings if not s.baseline and knob_of(s.exit) is not None), None)
    if not plan.budgets or own is None or run.task.regression:
        return []
    data = run.data(**plan.data)
    passes = [record(body, data.split(part), plan.batch, f"{run.name}: {part}") for part in PARTS]
    fitted = []
    for budget in plan.budgets:
        try:
            fit = fit_budget(
                own.exit,
                joined([passed.guesses for passed in passes]),
                joined([passed.signals for passed in passes]),
                np.concatenate([passed.labels for passed in passes]),
                np.concatenate([costs(body, own.exit, passed) for passed in passes], axis=1),
                budget,
            )
        except ValueError as error:
            raise ConfigError(f"budgets: {run.name}: {error}, got {budget}") from None
        fitted.append(replace(own, exit=turned(own.exit, fit.points), budget=budget))
    return fitted


def joined(parts: Sequence[dict[int, np.ndarray]]) -> dict[int, np.ndarray]:
    """Arrays of several passes by layer, one behind the other."""
    return {layer: np.concatenate([part[layer] for part in parts]) for layer in parts[0]}


def costs(body: AdaptiveEncoder, exit: Any, passed: Recorded) -> np.ndarray:
    """What leaving at each of the exits, and running every layer, costs each example: E x B, as a
    share of the same body with everything off."""
    full_B = static_flops(body, passed.lengths)
    depths = [*exit.layers, body.shape.num_layers]
    return np.stack(
        [
            flops(body, exit, passed.tokens_LB, np.full(len(passed.labels), depth), passed.lengths)
            / full_B
            for depth in depths
        ]
    )
