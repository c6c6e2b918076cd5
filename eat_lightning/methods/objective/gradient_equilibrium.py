"""Gradient equilibrium (ElasticBERT, Liu et al. 2022, section 3.2; Li et al. 2019, section 4.1).

With exits at many layers the lower body gets the sum of all their gradients. Here each layer gets
their mean: the gradient is scaled by 1 / (E - k + 1) before the k-th of E heads and by E - k behind
it, which leaves the heads' own gradients as they are.
"""

from __future__ import annotations

from eat_lightning.methods.objective._losses import weighted_exits
from eat_lightning.model.method import NotNegative, Positive, method
from eat_lightning.model.training import Context, Loss


@method("objective")
class GradientEquilibrium:
    """The sum of every exit's loss, all of one weight. distill: of the divergence from a teacher's
    logits, at every exit (0 = no teacher)."""

    distill: NotNegative = 0.0
    teacher_temperature: Positive = 2.0

    @property
    def wants_teacher(self) -> bool:
        return self.distill > 0

    def flow(self, k: int, num_exits: int) -> tuple[float, float]:
        """Factors before and behind the k-th exit's head (1-based)."""
        return 1 / (num_exits - k + 1), float(num_exits - k)

    def __call__(self, context: Context) -> Loss:
        weights = dict.fromkeys(context.guesses, 1.0)
        return weighted_exits(context, weights, self.distill, self.teacher_temperature)
