"""State of the examples that policies hold back at exits, in an encoder or an export.

Shapes: B examples, E exits so far, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

from eat_lightning.model.policy_request import PolicyInput, PolicyRequest
from eat_lightning.model.reason import Reason, leaves

if TYPE_CHECKING:
    from eat_lightning.model.contracts import Policy


class PolicyState:
    """why_B: the last reason for which each example of a batch was held back, or 0."""

    def __init__(self, why_B: Int[np.ndarray, " b"]):
        self.why_B = why_B

    def request(self, request: PolicyRequest) -> None:
        if request.full_B is not None:
            self.why_B[request.full_B] = int(Reason.FALLBACK)

    def review(
        self,
        policies: Sequence[Policy],
        reason_B: Int[np.ndarray, " b"],
        logits_EBC: Float[np.ndarray, "e b c"],
        inputs: PolicyInput,
        rows_B: Int[np.ndarray, " b"],
    ) -> Int[np.ndarray, " b"]:
        """Return reasons at an early exit after each policy in turn has looked at them. An example
        that is held back has 0, and the first policy that holds it back gives the reason.

        A policy can only make an exit later: it counts where the rule, and the policies before it,
        would let an example go. So no example leaves earlier than by the rule alone.

        Args:
            rows_B: places in `inputs` of the examples still here.
        """
        reason_B = self.hold(reason_B, rows_B)
        for policy in policies:
            going_B = leaves(reason_B)
            if not going_B.any():
                break
            reviewed_B = policy.reviews(reason_B, logits_EBC, inputs, rows_B)
            reason_B = np.where(going_B, reviewed_B, reason_B)
        return self.hold(reason_B, rows_B)

    def hold(
        self, reason_B: Int[np.ndarray, " b"], rows_B: Int[np.ndarray, " b"]
    ) -> Int[np.ndarray, " b"]:
        """Return reasons at an early exit, with 0 for the examples that a code in `OVERRULED` keeps
        here; that code is noted. An example that is to run every layer always stays."""
        full_B = self.why_B[rows_B] == Reason.FALLBACK
        reason_B = np.where(full_B, int(Reason.STAYS), reason_B)
        stays_B = (reason_B != Reason.STAYS) & ~leaves(reason_B)
        self.why_B[rows_B[stays_B]] = reason_B[stays_B]
        return np.where(stays_B, int(Reason.STAYS), reason_B)

    def at_end(self, rows_B: Int[np.ndarray, " b"]) -> Int[np.ndarray, " b"]:
        """Reasons of those who ran every layer."""
        why_B = self.why_B[rows_B]
        return np.where(why_B != Reason.STAYS, why_B, int(Reason.LAST_LAYER))
