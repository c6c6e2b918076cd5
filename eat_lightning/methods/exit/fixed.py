"""Fixed depth: every example exits at the same layer. It is the baseline of every exit rule."""

from collections.abc import Iterable, Sequence

import torch
from pydantic import NonNegativeInt

from eat_lightning.model.contracts import ExitRule
from eat_lightning.model.contracts.exit import Decision, Guesses, Signals
from eat_lightning.model.method import method


@method("exit")
class Fixed(ExitRule):
    layer: NonNegativeInt = 4

    reasons = ("fixed",)

    def rules(self, num_layers: int | None) -> Iterable[str]:
        if num_layers is not None and self.layer > num_layers:
            yield f"exit.layer must be in 0..{num_layers}, got {self.layer}"

    def __post_init__(self) -> None:
        self.layers: Sequence[int] = [self.layer]

    def decides(self, logits_EBC: Guesses, signals_EBS: Signals = None) -> Decision:
        return torch.ones(logits_EBC.shape[1], dtype=torch.int64, device=logits_EBC.device)
