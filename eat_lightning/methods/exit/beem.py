"""BEEM (Bajpai and Hanawal 2025): exits are experts whose weighted confidences add up as long as
they agree. An example exits when the sum is large enough.

S_e = S_{e-1} + w_e max p_e if the class equals that of the previous exit, otherwise w_e max p_e. An
example exits if S_e >= alpha. The released code computes S but then exits by the number of
agreements, as `exit=patience` does; `released` reproduces this.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from eat_lightning.answer_kind import SINGLE
from eat_lightning.methods.exit._points import ByPoint, ExitLayers
from eat_lightning.methods.exit._scores import lead
from eat_lightning.model.contracts import Knob
from eat_lightning.model.contracts.exit import Guesses, Signals
from eat_lightning.model.method import method
from eat_lightning.validation import Points, Positive, one_each

COST = 0.1  # weight of a layer, BEEM-C's


@method("exit")
class Beem(ByPoint):
    """Exits when the exits so far agree with enough weighted confidence.

    Args:
        alpha: minimum score for an exit, or a list with one for each of `layers`.
        weights: weights of the exits, one for each of `layers`, such as their accuracies (BEEM-A).
            None: 0.1 x the layer, which reflects its cost (BEEM-C).
        released: as in the authors' code, the score is the number of consecutive agreements, so
            alpha is a patience.
    """

    alpha: Points = 1.0
    layers: ExitLayers = (2, 3, 4)
    weights: Sequence[Positive] | None = None
    released: bool = False

    kinds = (SINGLE,)
    reasons = ("experts_agree",)
    knob = Knob(
        "alpha",
        strict=30.0,  # more than 24 layers can add up to, at 0.1 x the layer
        grid=(3.0, 2.0, 1.5, 1.0, 0.6, 0.3),
        fine=(
            *(25.0, 20.0, 16.0, 13.0, 10.0, 8.0, 7.0, 6.0),
            *(round(5.0 - 0.25 * k, 2) for k in range(12)),
            *(round(2.0 - 0.05 * k, 2) for k in range(40)),
            *(0.03, 0.01),
        ),
        bounds=Positive,
    )

    def rules(self, num_layers: int | None) -> list[str]:
        return [f"exit.weights {fault}" for fault in one_each(self.weights, self.layers)]

    def _value(self, logits_EBC: Guesses, signals_EBS: Signals = None) -> Tensor:
        """S at the last exit so far."""
        weights = self.weights or [COST * layer for layer in self.layers]
        best_EB, class_EB = logits_EBC.float().softmax(-1).max(-1)
        if self.released:
            return agreements(class_EB)
        score_B = weights[0] * best_EB[0]
        for e in range(1, len(logits_EBC)):
            agrees_B = class_EB[e] == class_EB[e - 1]
            score_B = torch.where(agrees_B, score_B, 0.0) + weights[e] * best_EB[e]
        return score_B

    def margin(self, logits_EBC: Float[Tensor, "e b c"]) -> Float[Tensor, " b"]:
        """The least distance of the score from alpha, and of a class from its next."""
        return torch.minimum(super().margin(logits_EBC), lead(logits_EBC).amin(0))


def agreements(class_EB: Int[Tensor, "e b"]) -> Float[Tensor, " b"]:
    """Tell how many exits in a row, up to the last, were of the class before them."""
    count_B = torch.zeros_like(class_EB[0], dtype=torch.float32)
    for e in range(1, len(class_EB)):
        count_B = torch.where(class_EB[e] == class_EB[e - 1], count_B + 1, 0.0)
    return count_B
