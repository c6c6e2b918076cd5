"""BERxiT's alternating fine-tuning (Xin et al. 2021): the last exit's loss in one step, the sum of
all exits' losses in the next: L = L_E at even steps, sum_e L_e at odd ones.

Joint training reduces the accuracy of the last exit, and training in two stages that of the early
ones; alternating is a compromise. In steps of the last exit, early heads get no gradient and do not
change.
"""

from __future__ import annotations

import torch

from eat_lightning.methods.objective._losses import exit_losses, with_penalties
from eat_lightning.model.contracts import Objective
from eat_lightning.model.method import method
from eat_lightning.model.training import Context, Loss


@method("objective")
class Alternating(Objective):
    """Even steps (from 0) train only the last exit, odd steps all exits with equal weight. In a
    stage with early exits only, every step trains them.

    Args:
        released: as in the authors' code for learning to exit, odd steps exclude the loss of the
            last exit.
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
