"""Latency of leaving at each exit in milliseconds, measured at batch 1 and interpolated by length.

Form: for each exit the median time from token ids to its decision, at a few lengths, linear
between them. Times include layers, reduction, heads and the rule itself.
Its error is that of examples that are not in the table: mean |table - measured| / mean measured.
Where a reduction's choice of tokens depends on their values, examples of one length differ, and the
error shows it.

Shapes: E exits (the last is the last layer), G lengths, B examples, I inputs, R repeats.
"""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter_ns
from typing import Any

import numpy as np
import torch
from torch import Tensor

from eat_lightning.infer.latency import undisturbed
from eat_lightning.model.contracts import ExitRule
from eat_lightning.model.contracts.exit import decide
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.packed import Packed

LENGTHS, REPEATS, WARM_UP = 8, 9, 3


@dataclass(frozen=True)
class CostTable:
    """ms: a row for each exit, a column for each of `lengths`, which ascend."""

    lengths: list[int]
    ms: list[list[float]]
    error: float

    def cost_EB(self, lengths_B: np.ndarray) -> np.ndarray:
        """Milliseconds of leaving at each exit. Outside of the measured lengths: of the nearest."""
        return np.stack([np.interp(lengths_B, self.lengths, ms_G) for ms_G in self.ms])


class Clock(ExitRule):
    """An exit rule that notes when each decision is there, and under which nobody leaves."""

    def __init__(self, rule: ExitRule):
        self.rule, self.layers, self.wants = rule, rule.layers, rule.wants
        self.stops: list[int] = []

    def observe(
        self, packed: Packed, pooled_BD: Tensor, logits_BC: Tensor, layer: int
    ) -> Tensor | None:
        return self.rule.observe(packed, pooled_BD, logits_BC, layer)

    def decides(self, logits_EBC: Tensor, signals_EBS: Tensor | None = None) -> Tensor:
        decision_B = decide(self.rule, logits_EBC, signals_EBS).cpu()  # waits for the device
        self.stops.append(perf_counter_ns())
        return torch.zeros_like(decision_B)


def measured_table(encoder: AdaptiveEncoder, split: Any, threads: int) -> CostTable:
    """Time single examples of a split: every other one of `2 x LENGTHS` spread over its lengths
    makes the table, the others its error."""
    lengths, first = np.unique(split.lengths, return_index=True)
    spread = np.unique(np.linspace(0, len(lengths) - 1, 2 * LENGTHS).round().astype(int))
    with undisturbed(threads):
        ms_EI = times(encoder, split, first[spread])
    in_table = np.arange(len(spread)) % 2 == 0
    in_table[-1] = True
    return table_of(lengths[spread], ms_EI, in_table)


def table_of(lengths_I: np.ndarray, ms_EI: np.ndarray, in_table: np.ndarray) -> CostTable:
    """A table of some inputs, and its error on the others (0 where there are none)."""
    table = CostTable(lengths_I[in_table].tolist(), ms_EI[:, in_table].tolist(), 0.0)
    if in_table.all():
        return table
    others_EI = ms_EI[:, ~in_table]
    missed = np.abs(table.cost_EB(lengths_I[~in_table]) - others_EI).mean() / others_EI.mean()
    return CostTable(table.lengths, table.ms, float(missed))


def times(encoder: AdaptiveEncoder, split: Any, rows: np.ndarray) -> np.ndarray:
    """Milliseconds from ids to each decision and to the end, E x I, the median of the repeats."""
    clock = Clock(encoder.exit)
    timed = encoder.replacing(exit=clock, policies=()).eval()
    device = encoder.strength.device
    batches = [split.batch(np.array([row])) for row in rows]
    took = []
    for repeat in range(WARM_UP + REPEATS):
        took_I = []
        for batch in batches:
            clock.stops, start = [], perf_counter_ns()
            timed(batch.to(device)).logits_BC.cpu()
            took_I.append([stop - start for stop in (*clock.stops, perf_counter_ns())])
        if repeat >= WARM_UP:
            took.append(took_I)
    return np.median(took, axis=0).T / 1e6
