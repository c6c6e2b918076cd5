"""Limits of a budget's accuracy: the heads, or thresholds from a small cut?

    python -m experiments.budgets.limits [budget=0.4] [task=sst2] FOLDER...    # kept rows

A diagnostic on dev, of which nothing is chosen. Beside the kept budget stand thresholds fitted on
one half of dev and judged on the other (groups whole), and on all of dev, judged there too: what no
fit to these heads' confidences can be expected to pass. Costs are those of the fixed depths, by
length.

Shapes: B examples, E exits and the last layer.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from pandas import DataFrame

from eat_lightning.errors import ConfigError, reported
from eat_lightning.record.dial_fit import ExitCosts, Replay, fit_dial, full_depth_logits
from eat_lightning.record.record import Record
from eat_lightning.report.baselines import fixed_beside
from eat_lightning.report.study import Measured, Study, open_study
from eat_lightning.weights.dial import Budget, Dial, DialPoint
from experiments.bench.tables import markdown
from experiments.plane.kept import first_half


@dataclass
class Dev:
    """One pass over dev: the rule to fit, and what leaving at each exit costs."""

    rule: Any
    recorded: Record
    cost_EB: np.ndarray
    budget: float

    def rows(self, at_B: np.ndarray) -> Dev:
        """The same on some examples."""
        part = self.recorded.take(at_B)
        return replace(self, recorded=part, cost_EB=self.cost_EB[:, at_B])

    def fit(self) -> DialPoint:
        full_cost = float(self.cost_EB[-1].mean())
        points = fit_dial(self.rule, self.recorded, ExitCosts(self.cost_EB), full_cost)
        return Dial("share", points, len(self.recorded), {}).at(Budget(self.budget))

    def judged(self, fit: DialPoint) -> tuple[float, float]:
        """FLOPs and accuracy here of thresholds that were fitted elsewhere."""
        original_BC = full_depth_logits(self.recorded)
        found = Replay(self.rule, self.recorded, ExitCosts(self.cost_EB), original_BC).at(fit.exit)
        return found.cost, found.accuracy

    def by_halves(self) -> tuple[float, float]:
        """FLOPs and accuracy, each half under the thresholds of the other."""
        in_first_B = first_half(self.recorded)
        halves = [self.rows(np.flatnonzero(mask_B)) for mask_B in (in_first_B, ~in_first_B)]
        found = [halves[i].judged(halves[1 - i].fit()) for i in (0, 1)]
        flops, accuracy = np.average(found, axis=0, weights=[len(h.recorded) for h in halves])
        return float(flops), float(accuracy)


def dev_of(study: Study, measured: Measured) -> Dev:
    """The pass that a budget's row stands on."""
    row, said = measured.row, measured.record
    ratio_E = np.array(sorted(m.row.flops_ratio for m in fixed_beside(study, measured)))
    tokens_B = said.tokens_LB[0]
    cost_EB = ratio_E[:, None] * (tokens_B / tokens_B.mean())
    return Dev(row.exit.build(), said, cost_EB, row.budget or 0.0)


def lines(study: Study, budget: float, task: str | None) -> Iterator[dict[str, Any]]:
    for measured in study.measured:
        row = measured.row
        wanted = row.budget == budget and task in (None, row.task)
        if not wanted or row.reduction.kind != "none":
            continue
        dev = dev_of(study, measured)
        full = float((dev.recorded.guesses[row.num_layers].argmax(1) == dev.recorded.labels).mean())
        ways = {
            "the calibration cut": (row.flops_ratio, row.accuracy),
            "the other half of dev": dev.by_halves(),
            "dev itself": dev.judged(dev.fit()),
        }
        for where, (flops, accuracy) in ways.items():
            yield {
                "task": row.task,
                "seed": row.seed,
                "thresholds from": where,
                "FLOPs": f"{flops:.3f}",
                "against full depth": f"{100 * (accuracy - full):+.2f}",
            }


def main(arguments: list[str]) -> None:
    given = dict(a.split("=", 1) for a in arguments if "=" in a)
    study = open_study([a for a in arguments if "=" not in a])
    budget, task = float(given.get("budget", 0.4)), given.get("task")
    found = list(lines(study, budget, task))
    if not found:
        raise ConfigError(f"budget={budget:g} has no rows there (task={task or 'any'})")
    print(markdown(DataFrame(found)))


if __name__ == "__main__":
    with reported():
        main(sys.argv[1:])
