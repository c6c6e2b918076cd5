"""PABEE's objective (Zhou et al. 2020, section 3): a deeper exit's loss weighs more.

L = sum_l l x L_l / sum_l l, where l is the layer of an exit: with an exit at every layer the
paper's number of the classifier.
"""

from __future__ import annotations

from eat_lightning.methods.objective._losses import weighted_exits
from eat_lightning.model.method import NotNegative, Positive, method
from eat_lightning.model.training import Context, Loss


@method("objective")
class DepthWeighted:
    """The mean of the exits' losses, each weighed by its layer. distill: of the divergence from a
    teacher's logits, at every exit with the same weights (0 = no teacher)."""

    distill: NotNegative = 0.0
    teacher_temperature: Positive = 2.0

    @property
    def wants_teacher(self) -> bool:
        return self.distill > 0

    def __call__(self, context: Context) -> Loss:
        whole = sum(context.guesses)
        weights = {layer: layer / whole for layer in context.guesses}
        return weighted_exits(context, weights, self.distill, self.teacher_temperature)
