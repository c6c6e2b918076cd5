"""F-PABEE (Zhang et al. 2023): exit when each of `patience` consecutive exits predicts nearly the
same distribution as the exit before it. PABEE compares only the classes.

With p_e the probabilities of exit e, m = (p_e + p_{e-1}) / 2 and H the entropy in bits, the
Jensen-Shannon divergence is JS_e = H(m) - (H(p_e) + H(p_{e-1})) / 2, between 0 and 1. An example
exits at e if JS_e, ..., JS_{e-patience+1} are all below a threshold. No training is needed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated

import torch
from jaxtyping import Float
from torch import Tensor

from eat_lightning.answer_kind import SINGLE
from eat_lightning.methods.exit._points import ByPoint, patience_faults
from eat_lightning.methods.exit._scores import entropy, mean_guess
from eat_lightning.model.contracts import Knob
from eat_lightning.model.contracts.exit import Guesses, Signals
from eat_lightning.model.method import method
from eat_lightning.validation import Count, Points, Share, in_layers


@method("exit")
class FlexiblePatience(ByPoint):
    """Exits when several consecutive exits predict nearly the same distribution.

    Args:
        divergence: maximum divergence of two predictions in bits, or a list with one for each of
            `layers`, which then also applies to the exits before it.
        patience: number of consecutive agreements.
    """

    divergence: Points = 0.05
    layers: Annotated[Sequence[int], in_layers(at_least=2, lowest=0)] = (3, 4)
    patience: Count = 1

    kinds = (SINGLE,)
    reasons = ("alike",)
    knob = Knob(
        "divergence",
        strict=0.0,
        grid=(0.001, 0.005, 0.01, 0.02, 0.05, 0.1),
        fine=(
            *(1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4),
            *(round(0.001 * k, 3) for k in range(1, 20)),
            *(round(0.01 * k, 2) for k in range(2, 101)),
        ),
        bounds=Share,
    )

    def rules(self, num_layers: int | None) -> list[str]:
        return patience_faults(self.patience, self.layers)

    def _value(self, logits_EBC: Guesses, signals_EBS: Signals) -> Tensor:
        """The largest divergence of those in a row; infinite where they are not yet so many."""
        if len(logits_EBC) <= self.patience:
            return logits_EBC.new_full(logits_EBC.shape[1:2], math.inf)
        return self._apart(logits_EBC[-self.patience - 1 :]).amax(0)

    def _apart(self, logits_EBC: Float[Tensor, "e b c"]) -> Float[Tensor, "e-1 b"]:
        """The divergence of each exit and the one before."""
        return divergences(logits_EBC)


def divergences(logits_EBC: Float[Tensor, "e b *c"]) -> Float[Tensor, "e-1 b *d"]:
    """JS of each exit and the one before, in bits."""
    pairs_2EBC = torch.stack([logits_EBC[:-1], logits_EBC[1:]]).float()
    apart_EB = entropy(pairs_2EBC).mean(0)
    return (entropy(mean_guess(pairs_2EBC)) - apart_EB) / math.log(2)
