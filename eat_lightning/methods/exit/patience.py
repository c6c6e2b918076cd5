"""PABEE (Zhou et al. 2020): exit when each of `patience` consecutive exits agrees with the exit
before it.

With the class c_e of exit e: c_e = c_{e-1} = ... = c_{e-patience}.

Layers [3, 4] with patience 1 are EAT's variant (section 3.3): equal argmax at layers 3 and 4.

It has no knob, so it cannot be fitted to a budget. Compare it with fixed depth at equal FLOPs.
"""

from collections.abc import Sequence
from typing import Annotated

import torch
from jaxtyping import Float
from torch import Tensor

from eat_lightning.answer_kind import SINGLE
from eat_lightning.methods.exit._points import patience_faults
from eat_lightning.methods.exit._scores import lead
from eat_lightning.model.contracts import ExitRule
from eat_lightning.model.contracts.exit import Decision, Guesses, Signals
from eat_lightning.model.method import method
from eat_lightning.validation import Count, in_layers


@method("exit")
class Patience(ExitRule):
    patience: Count = 1
    layers: Annotated[Sequence[int], in_layers(at_least=2, lowest=0)] = (3, 4)

    kinds = (SINGLE,)
    reasons = ("patient",)

    def rules(self, num_layers: int | None) -> list[str]:
        return patience_faults(self.patience, self.layers)

    def decides(self, logits_EBC: Guesses, signals_EBS: Signals = None) -> Decision:
        if len(logits_EBC) <= self.patience:
            return torch.zeros(logits_EBC.shape[1], dtype=torch.int64, device=logits_EBC.device)
        classes_EB = logits_EBC[-self.patience - 1 :].argmax(-1)
        return (classes_EB == classes_EB[-1]).all(0).long()

    def margin(self, logits_EBC: Float[Tensor, "e b c"]) -> Float[Tensor, " b"]:
        """The smallest lead of a guess over its runner-up, where the decision could be another."""
        return lead(logits_EBC[-self.patience - 1 :]).amin(0)
