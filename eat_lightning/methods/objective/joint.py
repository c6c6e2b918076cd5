"""EAT's objective (equations 1-3): cross-entropy at every exit, and distillation from a teacher."""

from collections.abc import Mapping
from typing import Any, Literal

from eat_lightning.methods.objective._losses import (
    exit_losses,
    from_teacher,
    key_faults,
    with_penalties,
)
from eat_lightning.model.contracts import Objective
from eat_lightning.model.method import method
from eat_lightning.model.training import Context, Loss
from eat_lightning.validation import NotNegative, Positive


@method("objective")
class Joint(Objective):
    """Sum over exits l of weight_l x CE_l, plus distill x T^2 x KL(teacher || student) (eq. 2).

    With one label it is a regression: squared error, also for the teacher.

    Args:
        early_weight: the paper's lambda for every exit except the last.
        last_weight: the paper's lambda for the last exit.
        weights: weights of single layers, which override both.
        distill: the paper's mu; 0: off (0.5 in the paper).
        teacher_temperature: T, by which both logits are divided.
        distill_into: the last exit, or all of them, with the weights of their cross-entropy.
    """

    early_weight: NotNegative = 0.3
    last_weight: Positive = 1.0
    weights: Mapping[Any, NotNegative] | None = None
    distill: NotNegative = 0.0
    teacher_temperature: Positive = 2.0
    distill_into: Literal["last", "all"] = "last"

    def rules(self, num_layers: int | None) -> list[str]:
        return key_faults("objective.weights", self.weights, num_layers)

    def __post_init__(self) -> None:
        if self.weights is not None:  # a config.json has them as text
            self.weights = {int(k): v for k, v in self.weights.items()}

    def _weight(self, layer: int, last: int) -> float:
        default = self.last_weight if layer == last else self.early_weight
        return (self.weights or {}).get(layer, default)

    def __call__(self, context: Context) -> Loss:
        guesses, last = context.guesses, context.last
        parts = exit_losses(context)
        total = sum(self._weight(k, last) * parts[f"exit_{k}"] for k in guesses)
        if self.wants_teacher:
            # A stage may show early exits alone: then there is no last one to distil into.
            into = guesses if self.distill_into == "all" else guesses.keys() & {last}
            shares = {k: 1.0 if k == last else self._weight(k, last) for k in into}
            taught = from_teacher(context, shares, self.teacher_temperature, parts)
            total = total + self.distill * taught
        return with_penalties(total, parts, context)
