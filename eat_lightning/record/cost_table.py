"""Latency of leaving at each exit in milliseconds, measured at batch 1 and interpolated by length.

For each exit, the table holds the median time from token ids to its decision at a few lengths, and
interpolates linearly between them. Times include layers, reduction, heads and the exit rule. They
are measured with all exits open. A closed exit saves an equal share of the difference to a pass
without exits.

The table's error is that on examples outside it: mean |table - measured| / mean measured. If the
tokens that a reduction keeps depend on their values, examples of one length differ, and the error
includes that.

Shapes: E exits and the last layer, G lengths, B examples, I inputs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from time import perf_counter_ns
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from eat_lightning.methods.exit.never import Never
from eat_lightning.model.contracts import ExitRule
from eat_lightning.model.contracts.exit import decide
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.packed import Packed
from eat_lightning.record.dial_fit import ExitCosts, can_close
from eat_lightning.record.timing import undisturbed

LENGTHS, REPEATS, WARM_UP = 8, 9, 3


@dataclass(frozen=True)
class CostTable:
    """Milliseconds of leaving at each exit, at a few lengths.

    Args:
        lengths: numbers of tokens, ascending.
        ms: a row for each exit and for the last layer, a column for each length, with all exits
            open.
        closed_ms: milliseconds of all layers without exits, at each length.
        closes: whether a closed exit's head is saved.
        error: relative error on examples that are not in the table.
    """

    lengths: list[int]
    ms: list[list[float]]
    closed_ms: list[float]
    closes: bool
    error: float

    def at(self, ms_G: list[float], lengths_B: np.ndarray) -> np.ndarray:
        """Interpolate milliseconds by length; outside the measured lengths the nearest one
        counts."""
        return np.interp(lengths_B, self.lengths, ms_G)

    def full_ms(self, lengths_B: np.ndarray) -> float:
        """Return the mean milliseconds of all layers with all exits closed, if they can be."""
        ms_G = self.closed_ms if self.closes else self.ms[-1]
        return float(self.at(ms_G, lengths_B).mean())

    def costs(self, lengths_B: np.ndarray) -> ExitCosts:
        """Return the milliseconds of leaving at each exit and at the last layer, and of each
        head."""
        cost_EB = np.stack([self.at(ms_G, lengths_B) for ms_G in self.ms])
        heads_B = (cost_EB[-1] - self.at(self.closed_ms, lengths_B)).clip(min=0)
        num_exits = len(cost_EB) - 1
        if not self.closes or not num_exits:
            return ExitCosts(cost_EB)
        return ExitCosts(cost_EB, np.tile(heads_B / num_exits, (num_exits, 1)))


class Clock(ExitRule):
    """An exit rule that notes the time of each decision of another rule, and lets nothing leave."""

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
    """Time single examples of a split. Of 2 x LENGTHS that are spread over its lengths, every other
    one goes into the table, and the rest give its error."""
    lengths, first = np.unique(split.lengths, return_index=True)
    spread = np.unique(np.linspace(0, len(lengths) - 1, 2 * LENGTHS).round().astype(int))
    with undisturbed(threads):
        ms_EI, closed_I = times(encoder, split, first[spread])
    in_table = np.arange(len(spread)) % 2 == 0
    in_table[-1] = True
    return table_of(lengths[spread], ms_EI, closed_I, in_table, can_close(encoder, encoder.exit))


def table_of(
    lengths_I: np.ndarray,
    ms_EI: np.ndarray,
    closed_I: np.ndarray,
    in_table: np.ndarray,
    closes: bool,
) -> CostTable:
    """Return the table of the inputs that a mask marks, with its error on the others (0 if there
    are none)."""
    lengths, closed_ms = lengths_I[in_table].tolist(), closed_I[in_table].tolist()
    table = CostTable(lengths, ms_EI[:, in_table].tolist(), closed_ms, closes, 0.0)
    if in_table.all():
        return table
    others_I = lengths_I[~in_table]
    measured_EI = np.concatenate([ms_EI, closed_I[None]])[:, ~in_table]
    found_EI = np.stack([table.at(ms_G, others_I) for ms_G in (*table.ms, table.closed_ms)])
    missed = np.abs(found_EI - measured_EI).mean() / measured_EI.mean()
    return replace(table, error=float(missed))


def times(
    encoder: AdaptiveEncoder, split: Any, rows: np.ndarray
) -> tuple[Float[np.ndarray, "e i"], Float[np.ndarray, " i"]]:
    """Return the median milliseconds of each input: from ids to each decision and to the end (E x
    I), and to the end without exits (I). Passes with and without exits take turns."""
    clock = Clock(encoder.exit)
    timed = encoder.replacing(exit=clock, policies=()).eval()
    closed = encoder.replacing(exit=Never(), policies=()).eval()
    device = encoder.strength.device
    batches = [split.batch(np.array([row])) for row in rows]
    took = []
    for repeat in range(WARM_UP + REPEATS):
        took_I = []
        for batch in batches:
            clock.stops, start = [], perf_counter_ns()
            timed(batch.to(device)).logits_BC.cpu()
            stops = [*clock.stops, perf_counter_ns()]
            stops += stops[-1:] * (len(encoder.exit.layers) + 1 - len(stops))  # no exit at the end
            closed(batch.to(device)).logits_BC.cpu()
            closed_ns = perf_counter_ns() - stops[-1]
            took_I.append([*(stop - start for stop in stops), closed_ns])
        if repeat >= WARM_UP:
            took.append(took_I)
    ms_EI = np.median(took, axis=0).T / 1e6
    return ms_EI[:-1], ms_EI[-1]
