"""Exits of an export that come later than its graphs say: by a stricter rule, by policies.

The graphs hold the exit rule, but it is between them that an example leaves or goes on, so there it
can be held back, and only that. Without torch, but where there is a stricter rule.

Shapes: B examples of a batch, E exits so far, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from eat_lightning.infer.onnx_runner import STAYS, Review
from eat_lightning.methods.policy.full_depth import FullDepth
from eat_lightning.model.policy import KnownFields, PolicyState, joined
from eat_lightning.text_io import About

if TYPE_CHECKING:
    from eat_lightning.model.contracts import Policy


@dataclass(frozen=True)
class StricterExits:
    """Examples leave where the graphs (at `layers`) let them go, `rule` agrees and no policy
    objects. rule: an exit rule that looks at some of these layers, at the others nobody leaves;
    None: the graphs decide alone."""

    layers: Sequence[int]
    rule: Any = None
    policies: Sequence[Policy] = ()

    def deep(self) -> StricterExits:
        """Nobody leaves early, and the answers say `fallback`."""
        return replace(self, policies=(FullDepth(), *self.policies))

    def review(self, about: About) -> Review | None:
        """Return the check that a runner makes at each exit of a batch. None means that the graphs
        decide alone."""
        if self.rule is None and not self.policies:
            return None
        known, state = KnownFields(about), PolicyState(np.zeros(len(about), np.int64))
        state.request(joined(policy.requests(known, None) for policy in self.policies))

        def review(
            reason_B: np.ndarray, guesses_EBC: np.ndarray | None, rows_B: np.ndarray
        ) -> np.ndarray:
            if guesses_EBC is None:
                return state.at_end(rows_B)
            if self.rule is not None:
                reason_B = np.where(self.agrees(guesses_EBC), reason_B, STAYS)
            return state.review(self.policies, reason_B, guesses_EBC, known, rows_B)

        return review

    def agrees(self, guesses_EBC: np.ndarray) -> np.ndarray:
        """True where the rule lets an example leave at the last exit so far."""
        import torch

        so_far = self.layers[: len(guesses_EBC)]
        if so_far[-1] not in self.rule.layers:
            return np.zeros(guesses_EBC.shape[1], bool)
        rows = [i for i, layer in enumerate(so_far) if layer in self.rule.layers]
        return self.rule.decides(torch.from_numpy(guesses_EBC[rows]), None).numpy() != STAYS


def would_leave(
    guesses: Mapping[int, tuple[np.ndarray, np.ndarray]], review: Review | None
) -> tuple[np.ndarray, np.ndarray]:
    """The logits B x C that each example would leave with and its depth, where all ran every layer:
    what `review` makes of what the graphs decided (`Trace.guesses`)."""
    *early, last = guesses
    logits_BC = guesses[last][0].copy()
    depth_B = np.full(len(logits_BC), last)
    here_B = np.arange(len(logits_BC))
    for number, layer in enumerate(early, start=1):
        guess_BC, reason_B = guesses[layer]
        reason_B = reason_B[here_B]
        if review is not None:
            guesses_EBC = np.stack([guesses[k][0][here_B] for k in early[:number]])
            reason_B = review(reason_B, guesses_EBC, here_B)
        gone_B = here_B[reason_B != STAYS]
        logits_BC[gone_B], depth_B[gone_B] = guess_BC[gone_B], layer
        here_B = here_B[reason_B == STAYS]
    return logits_BC, depth_B
