"""BERxiT's alternating fine-tuning (Xin et al. 2021): the last exit's loss in one step,
the sum of all exits' losses in the next: L = L_E at even steps, sum_e L_e at odd ones.

Joint training costs the last exit accuracy, and two stages cost the early ones theirs; taking turns
is between the two. A step of the last exit gives the early heads no gradient, so it leaves them as
they are.
"""

from __future__ import annotations

import torch

from eat_lightning.methods.objective._losses import exit_losses, with_penalties
from eat_lightning.model.contracts import Objective
from eat_lightning.model.method import method
from eat_lightning.model.training import Context, Loss


@method("objective")
class Alternating(Objective):
    """Even steps (from 0): the last exit alone; odd steps: every exit, all of one weight. In a
    stage of early exits alone every step is theirs.

    Args:
        released: as in the authors' code for learning to exit, odd steps leave the last exit's loss
            out.
    """

    released: bool = False

    @property
    def wants(self) -> frozenset[str]:
        return frozenset({"step"})

    def __call__(self, context: Context) -> Loss:
        parts = exit_losses(context)
        last = f"exit_{context.last}"
        alone = context.step % 2 == 0 and last in parts
        early = [loss for name, loss in parts.items() if name != last]
        others = early if self.released and early else [*parts.values()]
        total = parts[last] if alone else torch.stack(others).sum()
        return with_penalties(total, parts, context)
