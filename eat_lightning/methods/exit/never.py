"""No early exit: every example runs all layers."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from eat_lightning.model.contracts import ExitRule


class Never(ExitRule):
    layers = ()

    def decides(
        self,
        logits_EBC: Float[Tensor, "e b c"],
        signals_EBS: Float[Tensor, "e b s"] | None = None,
    ) -> Int[Tensor, " b"]:
        return torch.zeros(logits_EBC.shape[1], dtype=torch.int64, device=logits_EBC.device)
