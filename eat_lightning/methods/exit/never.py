"""No early exit: every example runs all layers."""

import torch

from eat_lightning.model.contracts import ExitRule
from eat_lightning.model.contracts.exit import Decision, Guesses, Signals


class Never(ExitRule):
    layers = ()

    def decides(self, logits_EBC: Guesses, signals_EBS: Signals = None) -> Decision:
        return torch.zeros(logits_EBC.shape[1], dtype=torch.int64, device=logits_EBC.device)
