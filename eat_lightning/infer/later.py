"""Exits of an export that come later than its graphs say: by a stricter tau, by policies.

The graphs hold the exit rule, but it is between them that an example leaves or goes on, so there it
can be held back, and only that. Without torch.

Shapes: B examples of a batch, E exits so far, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from eat_lightning.infer.onnx_runner import LAST_LAYER, STAYS, Later
from eat_lightning.methods.policy._sure import confidence
from eat_lightning.methods.policy.full_depth import FullDepth
from eat_lightning.model.held import Held
from eat_lightning.model.reason import Reason
from eat_lightning.model.together import wished
from eat_lightning.model.wish import Known

if TYPE_CHECKING:
    from eat_lightning.model.contracts import Policy

Exits = Mapping[int, tuple[np.ndarray, np.ndarray]]
SHUT = 2.0  # a confidence that nobody reaches


@dataclass(frozen=True)
class Way:
    """How examples leave an export: where its graphs let them go, `taus` is reached (by layer; a
    layer that it does not name is shut; None: none is asked for) and no policy objects. layers:
    where the graphs let examples go."""

    layers: Sequence[int]
    taus: Mapping[int, float] | None = None
    policies: tuple[Policy, ...] = ()

    def deep(self) -> Way:
        """Nobody leaves early, and the answers say `fallback`."""
        return replace(self, policies=(FullDepth(), *self.policies))

    def later(self, about: Sequence[Mapping[str, str]]) -> Later | None:
        """For a batch, of whose examples so much is known; None where the graphs' word is all."""
        if self.taus is None and not self.policies:
            return None
        asked, held = Known(about), Held(np.zeros(len(about), np.int64))
        held.wish(wished(self.policies, asked, None))

        def at_exit(
            reason_B: np.ndarray, guesses_EBC: np.ndarray | None, rows_B: np.ndarray
        ) -> np.ndarray:
            if guesses_EBC is None:
                return held.at_end(rows_B)
            if self.taus is not None:
                tau = self.taus.get(self.layers[len(guesses_EBC) - 1], SHUT)
                reason_B = np.where(confidence(guesses_EBC) >= tau, reason_B, int(Reason.STAYS))
            return held.review(self.policies, reason_B, guesses_EBC, asked, rows_B)

        return at_exit


def nobody_leaves(
    reason_B: np.ndarray, guesses_EBC: np.ndarray | None, rows_B: np.ndarray
) -> np.ndarray:
    """A `Later` under which every exit guesses for every example."""
    return np.full(len(rows_B), LAST_LAYER if guesses_EBC is None else STAYS)


def would_leave(exits: Exits, later: Later | None) -> tuple[np.ndarray, np.ndarray]:
    """The logits B x C that each example would leave with and its depth, where all ran every layer:
    what `later` says of what the graphs said then (`Trace.exits`)."""
    *early, last = exits
    logits_BC = exits[last][0].copy()
    depth_B = np.full(len(logits_BC), last)
    here_B = np.arange(len(logits_BC))
    for number, layer in enumerate(early, start=1):
        guess_BC, reason_B = exits[layer]
        reason_B = reason_B[here_B]
        if later is not None:
            guesses_EBC = np.stack([exits[k][0][here_B] for k in early[:number]])
            reason_B = later(reason_B, guesses_EBC, here_B)
        gone_B = here_B[reason_B != STAYS]
        logits_BC[gone_B], depth_B[gone_B] = guess_BC[gone_B], layer
        here_B = here_B[reason_B == STAYS]
    return logits_BC, depth_B
