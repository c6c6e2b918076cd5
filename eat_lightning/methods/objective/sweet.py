"""SWEET (Rotem et al. 2023): each layer learns from the next exit alone.

In joint training the gradients of deeper exits conflict with those of earlier ones in the layers
that they share. Here the gradient of an exit ends where the exit before it stands, so that each
layer has the update of one head only.
"""

from __future__ import annotations

from eat_lightning.methods.objective._losses import weighted_exits
from eat_lightning.model.method import NotNegative, Positive, method
from eat_lightning.model.training import Context, Loss


@method("objective")
class Sweet:
    """The sum of every exit's loss, all of one weight. distill: of the divergence from a teacher's
    logits, at every exit (0 = no teacher)."""

    distill: NotNegative = 0.0
    teacher_temperature: Positive = 2.0

    @property
    def wants_teacher(self) -> bool:
        return self.distill > 0

    def flow(self, k: int, num_exits: int) -> tuple[float, float]:
        """Nothing comes back from beyond the k-th exit."""
        return 1.0, 0.0

    def __call__(self, context: Context) -> Loss:
        weights = dict.fromkeys(context.guesses, 1.0)
        return weighted_exits(context, weights, self.distill, self.teacher_temperature)
