"""No early exit: every example runs all layers."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor


class Never:
    layers: Sequence[int] = ()

    def decides(self, logits_EBC: Float[Tensor, "e b c"]) -> Int[Tensor, " b"]:
        return torch.zeros(logits_EBC.shape[1], dtype=torch.int64, device=logits_EBC.device)
