"""FastBERT's self-distillation (Liu et al. 2020): early exits learn what the last
one answers.

L = sum_{e<E} KL(p_E || p_e) (T = 1), with p_E as a target without gradient: no labels
are needed. FastBERT first fine-tunes body and last head, then trains the early heads alone on the
frozen rest: schedule=two_stage, heads_lr 10. Without stages the exits' divergences reach the body
too, beside the last exit's own loss, as in BERxiT's comparison (Xin et al. 2021).
"""

from __future__ import annotations

from typing import Any

from eat_lightning.methods.objective._losses import distillation, exit_losses, with_penalties
from eat_lightning.model.contracts import Objective
from eat_lightning.model.method import method
from eat_lightning.model.training import Context, Loss
from eat_lightning.validation import NotNegative, Positive


@method("objective")
class SelfDistillation(Objective):
    """The last exit's own loss, and T^2 x KL from it for each early exit that counts. temperature:
    T. early_weight: of the early exits' own loss with labels (0 in FastBERT, 1 in BERxiT)."""

    temperature: Positive = 1.0
    early_weight: NotNegative = 0.0

    def __call__(self, context: Context) -> Loss:
        parts, last, total = exit_losses(context), context.last, 0.0
        target_BC = context.full_depth().detach()
        learned: dict[str, Any] = {}
        for k, guess_BC in context.guesses.items():
            total = total + (1.0 if k == last else self.early_weight) * parts[f"exit_{k}"]
            if k < last:
                learned[f"distill_{k}"] = distillation(guess_BC, target_BC, self.temperature)
        return with_penalties(total + sum(learned.values()), parts | learned, context)
