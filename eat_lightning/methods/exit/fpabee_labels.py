"""F-PABEE (Zhang et al. 2023) for several labels: leave when `patience` exits in a row say nearly
the same of every label as the one before each of them.

The Jensen-Shannon divergence of two exits is taken for each label, of its two probabilities, yes
and no. An example leaves where the largest over the labels is below a threshold, `patience` times
in a row. The largest and not the sum, since one label that changes makes another answer.
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
    """divergence: in bits, below which two guesses are alike (a list: one for each of `layers`, by
    which the exit that decides judges those before it too). patience: how many times in a row."""

    kinds = (MULTI,)

    def _apart(self, logits_EBC: Float[Tensor, "e b c"]) -> Float[Tensor, "e-1 b"]:
        no_yes_EBC2 = torch.stack([torch.zeros_like(logits_EBC), logits_EBC], -1)
        return divergences(no_yes_EBC2).amax(-1)
