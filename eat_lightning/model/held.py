"""Who is held back by policies on the way past the exits, be they an encoder's or an export's.

Shapes: B examples, E exits so far, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

from eat_lightning.model.reason import Reason, leaves
from eat_lightning.model.together import reviewed
from eat_lightning.model.wish import Asked, Wish

if TYPE_CHECKING:
    from eat_lightning.model.contracts import Policy


class Held:
    """why_B: the last reason for which each example of a batch was held back, or 0."""

    def __init__(self, why_B: Int[np.ndarray, " b"]):
        self.why_B = why_B

    def wish(self, wish: Wish) -> None:
        if wish.full_B is not None:
            self.why_B[wish.full_B] = int(Reason.FALLBACK)

    def review(
        self,
        policies: Sequence[Policy],
        reason_B: Int[np.ndarray, " b"],
        logits_EBC: Float[np.ndarray, "e b c"],
        asked: Asked,
        rows_B: Int[np.ndarray, " b"],
    ) -> Int[np.ndarray, " b"]:
        """Reasons at an early exit after policies; who is held back has 0. rows_B: places in
        `asked` of those still here."""
        reason_B = self.hold(reason_B, rows_B)
        return self.hold(reviewed(policies, reason_B, logits_EBC, asked, rows_B), rows_B)

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
