"""Several policies at once, in the order of their list.

A policy can only make an exit later: its word counts where the rule (and the policies before it)
would let an example go. So whatever policies are in force, nobody leaves earlier than by the exit
rule alone.

Shapes: B examples, E exits so far, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

from eat_lightning.model.reason import leaves
from eat_lightning.model.wish import Asked, Wish

if TYPE_CHECKING:
    from eat_lightning.model.contracts import Policy, Reduction


def wished(policies: Sequence[Policy], asked: Asked, reduction: Reduction | None) -> Wish:
    """The least strength that any of them asks for, and full depth where any does."""
    wishes = [policy.wishes(asked, reduction) for policy in policies]
    strengths = [wish.strength_B for wish in wishes if wish.strength_B is not None]
    fulls = [wish.full_B for wish in wishes if wish.full_B is not None]
    return Wish(
        strength_B=reduce(np.minimum, strengths) if strengths else None,
        full_B=reduce(np.logical_or, fulls) if fulls else None,
    )


def reviewed(
    policies: Sequence[Policy],
    reason_B: Int[np.ndarray, " b"],
    logits_EBC: Float[np.ndarray, "e b c"],
    asked: Asked,
    rows_B: Int[np.ndarray, " b"],
) -> Int[np.ndarray, " b"]:
    """Reasons at an early exit after each policy in turn has looked at them. The
    first that holds an example back says why. rows_B: places in `asked` of those still here."""
    for policy in policies:
        going_B = leaves(reason_B)
        if not going_B.any():
            break
        said_B = policy.reviews(reason_B, logits_EBC, asked, rows_B)
        reason_B = np.where(going_B, said_B, reason_B)
    return reason_B
