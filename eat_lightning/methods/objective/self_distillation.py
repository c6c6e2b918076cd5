"""FastBERT's self-distillation (Liu et al. 2020): early exits learn what the last
one answers.

L = sum_{e<E} KL(p_E || p_e) (T = 1), with p_E as a target without gradient: no labels
are needed. FastBERT first fine-tunes backbone and last head, then trains the early heads alone on
the frozen rest: schedule=two_stage, heads_lr 10. Without stages the exits' divergences reach the
backbone too, beside the last exit's own loss, as in BERxiT's comparison (Xin et al. 2021).
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
    """The last exit's loss with labels, where it counts, and a loss of each early exit that counts.

    Args:
        temperature: T.
        target: of the early exits: "model", T^2 x KL from the last exit; "labels", their own loss;
            "both", the mean of the two.
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
