"""Fixed depth: everybody leaves at one layer, whatever they say. What a choice must beat."""

from collections.abc import Sequence
from typing import Annotated, Any

import torch

from eat_lightning.model.contracts import ExitRule
from eat_lightning.model.contracts.exit import Decision, Guesses, Signals
from eat_lightning.model.method import method
from eat_lightning.validation import Beside, Check, InLayers


def place_faults(value: Any, beside: Beside) -> list[str]:
    return InLayers(lowest=0).faults([value], beside)


@method("exit")
class Fixed(ExitRule):
    layer: Annotated[int, Check(place_faults)] = 4

    reasons = ("fixed",)

    def __post_init__(self) -> None:
        self.layers: Sequence[int] = [self.layer]

    def decides(self, logits_EBC: Guesses, signals_EBS: Signals = None) -> Decision:
        return torch.ones(logits_EBC.shape[1], dtype=torch.int64, device=logits_EBC.device)
