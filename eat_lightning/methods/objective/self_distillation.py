"""FastBERT's self-distillation (Liu et al. 2020): early exits learn the answers of the last one.

L = sum_{e<E} KL(p_E || p_e) (T = 1), with p_E as a target without gradient, so no labels are
needed. FastBERT first fine-tunes backbone and last head, and then trains only the early heads on
the frozen model: schedule=two_stage, heads_lr 10. Without stages, the divergences of the exits also
reach the backbone, in addition to the loss of the last exit, as in BERxiT's comparison (Xin et al.
2021).
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from eat_lightning.methods.objective._losses import with_penalties
from eat_lightning.model.contracts import Objective
from eat_lightning.model.method import method
from eat_lightning.model.training import Context, Loss
from eat_lightning.validation import Positive


@method("objective")
class SelfDistillation(Objective):
    """The last exit's loss with labels and the losses of the early exits, as far as they are
    trained in the current stage.

    Args:
        temperature: T.
        target: what early exits learn: "model" (T^2 x KL from the last exit), "labels" (their own
            loss) or "both" (the mean of the two).
    """

    temperature: Positive = 1.0
    target: Literal["model", "labels", "both"] = "model"

    @property
    def reads_labels(self) -> bool:
        return self.target != "model"

    def __call__(self, context: Context) -> Loss:
        parts: dict[str, Tensor] = {}
        total, last, target_BC = 0.0, context.last, context.full_depth().detach()
        share = 0.5 if self.target == "both" else 1.0
        kind, labels_B = context.kind, context.labels_B
        for k, guess_BC in context.guesses.items():
            if k == last or self.reads_labels:
                parts[f"exit_{k}"] = kind.loss(guess_BC, labels_B, target_BC)
                total = total + (1.0 if k == last else share) * parts[f"exit_{k}"]
            if k < last and self.target != "labels":
                parts[f"distill_{k}"] = kind.divergence(guess_BC, target_BC, self.temperature)
                total = total + share * parts[f"distill_{k}"]
        return with_penalties(total, parts, context)
