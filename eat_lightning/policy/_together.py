"""Several policies at once, in the order of their list.

A policy can only make an exit later: its word counts where the rule (and the policies before it)
would let an example go. So whatever policies are in force, nobody leaves earlier than by the exit
rule alone.

Shapes: B examples, E exits so far, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import torch
from jaxtyping import Float, Int
from torch import Tensor

from eat_lightning.exit._reason import leaves
from eat_lightning.packed import Batch
from eat_lightning.slots import Policy, Reduction, Wish


def wished(policies: Sequence[Policy], batch: Batch, reduction: Reduction | None) -> Wish:
    """The least strength that any of them asks for, and full depth where any does."""
    wishes = [policy.wishes(batch, reduction) for policy in policies]
    strengths = [wish.strength_B for wish in wishes if wish.strength_B is not None]
    fulls = [wish.full_B for wish in wishes if wish.full_B is not None]
    return Wish(
        strength_B=reduce(torch.minimum, strengths) if strengths else None,
        full_B=reduce(torch.logical_or, fulls) if fulls else None,
    )


def reviewed(
    policies: Sequence[Policy],
    reason_B: Int[Tensor, " b"],
    logits_EBC: Float[Tensor, "e b c"],
    batch: Batch,
    rows_B: Int[Tensor, " b"],
) -> Int[Tensor, " b"]:
    """Reasons at an early exit (on the host) after each policy in turn has looked at them. The
    first that holds an example back says why. rows_B: places in `batch` of those still here."""
    for policy in policies:
        going_B = leaves(reason_B)
        if not going_B.any():
            break
        said_B = policy.reviews(reason_B, logits_EBC, batch, rows_B)
        reason_B = torch.where(going_B, said_B, reason_B)
    return reason_B
