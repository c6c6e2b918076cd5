"""BERxiT's alternating fine-tuning (Xin et al. 2021): the last exit's loss in one step,
the sum of all exits' losses in the next: L = L_E at even steps, sum_e L_e at odd ones.

Joint training costs the last exit accuracy, and two stages cost the early ones theirs; taking turns
is between the two. A step of the last exit gives the early heads no gradient, so it leaves them as
they are.
"""

from __future__ import annotations

from eat_lightning.methods.objective._losses import exit_losses, with_penalties
from eat_lightning.model.training import Context, Loss


class Alternating:
    """Even steps (from 0): the last exit alone; odd steps: every exit, all of one weight. In a
    stage of early exits alone every step is theirs."""

    wants_teacher = False
    wants = frozenset({"step"})

    def __call__(self, context: Context) -> Loss:
        parts = exit_losses(context)
        last = f"exit_{context.last}"
        alone = context.step % 2 == 0 and last in parts
        total = parts[last] if alone else sum(parts.values())
        return with_penalties(total, parts, context)
