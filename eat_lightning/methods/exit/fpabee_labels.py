"""F-PABEE (Zhang et al. 2023) for several labels: exit when each of `patience` consecutive exits
predicts nearly the same probability for every label as the exit before it.

The Jensen-Shannon divergence of two exits is computed for each label from its probabilities of yes
and no. An example exits if the largest divergence over the labels is below a threshold, `patience`
times in a row. It is the largest rather than the sum, because one changed label changes the answer.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from eat_lightning.answer_kind import MULTI
from eat_lightning.methods.exit.fpabee import FlexiblePatience, divergences
from eat_lightning.model.method import method


@method("exit")
class FlexiblePatienceLabels(FlexiblePatience):
    """divergence: maximum divergence of two predictions in bits, or a list with one for each of
    `layers`, which then also applies to the exits before it. patience: number of consecutive
    agreements."""

    kinds = (MULTI,)

    def _apart(self, logits_EBC: Float[Tensor, "e b c"]) -> Float[Tensor, "e-1 b"]:
        no_yes_EBC2 = torch.stack([torch.zeros_like(logits_EBC), logits_EBC], -1)
        return divergences(no_yes_EBC2).amax(-1)
