"""An encoder as its stretches between exits, each a call of its own, run one after another in
torch: what `onnx_runner.Runner` does in numpy. So each may be compiled, since within it sizes stay
open and nobody leaves.

Shapes: B examples, N packed tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from eat_lightning.export.trace import Stretch, sample, stretches, with_open_exits
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.packed import Batch
from eat_lightning.model.recorder import TraceRecorder
from eat_lightning.model.trace import Trace

State = dict[str, Tensor]
Call = Callable[[State], State]


class Stretched:
    """`make`: a call of a stretch, given a state of the shapes it takes. An example alone, or the
    last one left of a batch, has calls of its own, which know that there is one. Examples have two
    tokens or more; policies are not asked."""

    def __init__(self, encoder: AdaptiveEncoder, make: Callable[[Stretch, State], Call]):
        encoder = with_open_exits(encoder)
        self.num_layers, self.exit = len(encoder.layers), encoder.exit

        def made(number: int, stretch: Stretch) -> tuple[Stretch, list[str], Call]:
            state = sample(stretch, number)
            return stretch, [*state], make(stretch, state)

        self.parts = {
            alone: [made(*each) for each in enumerate(stretches(encoder, alone))]
            for alone in (False, True)
        }

    def __call__(self, batch: Batch) -> Trace:
        recorder = TraceRecorder(self.num_layers, batch.size, self.exit)
        state = {"ids_N": batch.ids_N, "types_N": batch.types_N, "lengths_B": batch.lengths_B}
        for one, several in zip(self.parts[True], self.parts[False], strict=True):
            part, takes, call = one if len(state["lengths_B"]) == 1 else several
            state = state | call({name: state[name] for name in takes})
            if part.last > 0:
                recorder.tokens_LB[part.first - 1 : part.last, recorder.rows_B] = state["tokens_LB"]
            recorder.guess(part.last, state["logits_BC"])
            at_end = part.last == self.num_layers
            reason_B = recorder.at_end() if at_end else state["reason_B"]
            if reason_B.any():
                _, stays_B = recorder.leave(part.last, reason_B)
                if not stays_B.any():
                    break
                state = staying(state, stays_B)
        return recorder.end()


def staying(state: State, stays_B: Tensor) -> State:
    """A state without the rows of the examples that leave. Token ids are not carried on."""
    rows_N = torch.repeat_interleave(stays_B, state["lengths_B"])
    rows_M, examples = rows_N.nonzero().flatten(), stays_B.nonzero().flatten()
    kept: dict[str, Any] = {}
    for name, value in state.items():
        axes = name.rpartition("_")[2]
        if "N" in axes and len(value) == len(rows_N):
            kept[name] = value.index_select(0, rows_M)
        elif "B" in axes:
            kept[name] = value.index_select(axes.index("B"), examples)
    return kept
