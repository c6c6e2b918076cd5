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
        asked: PolicyInput,
        rows_B: Int[np.ndarray, " b"],
    ) -> Int[np.ndarray, " b"]:
        """Reasons at an early exit after each policy in turn has looked at them; who is held back
        has 0, and the first that holds an example back says why. rows_B: places in `asked` of those
        still here.

        A policy can only make an exit later: its word counts where the rule, and the policies
        before it, would let an example go. So nobody leaves earlier than by the rule alone.
        """
        reason_B = self.hold(reason_B, rows_B)
        for policy in policies:
            going_B = leaves(reason_B)
            if not going_B.any():
                break
            said_B = policy.reviews(reason_B, logits_EBC, asked, rows_B)
            reason_B = np.where(going_B, said_B, reason_B)
        return self.hold(reason_B, rows_B)

    def hold(
        self, reason_B: Int[np.ndarray, " b"], rows_B: Int[np.ndarray, " b"]
    ) -> Int[np.ndarray, " b"]:
        """Reasons at an early exit with 0 for whom one of `HELD` keeps here, which is noted. Who is
        to run every layer stays, whatever is said."""
        full_B = self.why_B[rows_B] == Reason.FALLBACK
        reason_B = np.where(full_B, int(Reason.STAYS), reason_B)
        held_B = (reason_B != Reason.STAYS) & ~leaves(reason_B)
        self.why_B[rows_B[held_B]] = reason_B[held_B]
        return np.where(held_B, int(Reason.STAYS), reason_B)

    def at_end(self, rows_B: Int[np.ndarray, " b"]) -> Int[np.ndarray, " b"]:
        """Reasons of those who ran every layer."""
        why_B = self.why_B[rows_B]
        return np.where(why_B != Reason.STAYS, why_B, int(Reason.LAST_LAYER))
