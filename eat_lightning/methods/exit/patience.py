"""PABEE (Zhou et al. 2020): leave when `patience` exits in a row agree with the one before.

Layers [3, 4] with patience 1 are EAT's variant (section 3.3): equal argmax at layers 3 and 4.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from eat_lightning.bounds import layer_faults, raise_faults
from eat_lightning.methods.exit._scores import lead


class Patience:
    classes_only = True
    reasons = ("patient",)

    def __init__(self, patience: int = 1, layers: Sequence[int] = (3, 4)):
        raise_faults(self.faults(None, patience=patience, layers=layers))
        self.patience, self.layers = patience, list(layers)

    @classmethod
    def faults(
        cls, num_layers: int | None, patience: int = 1, layers: Sequence[int] = (3, 4)
    ) -> list[str]:
        faults = layer_faults("exit.layers", layers, num_layers, at_least=2)
        whole = isinstance(patience, int) and not isinstance(patience, bool)
        if not whole or patience < 1:
            faults.append(f"exit.patience must be 1 or more, got {patience!r}")
        elif not faults and patience >= len(layers):
            most = len(layers) - 1
            faults.append(
                f"exit.patience must be at most {most} with {most + 1} exits, got {patience}"
            )
        return faults

    def decides(self, logits_EBC: Float[Tensor, "e b c"]) -> Int[Tensor, " b"]:
        if len(logits_EBC) <= self.patience:
            return torch.zeros(logits_EBC.shape[1], dtype=torch.int64, device=logits_EBC.device)
        classes_EB = logits_EBC[-self.patience - 1 :].argmax(-1)
        return (classes_EB == classes_EB[-1]).all(0).long()

    def margin(self, logits_EBC: Float[Tensor, "e b c"]) -> Float[Tensor, " b"]:
        """The smallest lead of a guess over its runner-up, where the decision could be another."""
        return lead(logits_EBC[-self.patience - 1 :]).amin(0)
