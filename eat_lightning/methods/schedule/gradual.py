"""Gradual pruning (Zhu and Gupta 2017): the share that goes rises from nothing to what was asked.

With `shape: cubic` the share that stays follows their cubic, v + (1 - v) (1 - t)^3 over the ramp's
progress t, which movement pruning (Sanh et al. 2020) takes over; CoFi's target (Xia et al. 2022)
rises linearly.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from eat_lightning.bounds import number_faults, raise_faults, switch_faults
from eat_lightning.model.training import Stage


class Gradual:
    """warm: share of all steps before anything goes. cool: share of them at the end, at what was
    asked. shape: of the ramp between. embedding: whether the embedding trains (in movement pruning
    it stands still)."""

    def __init__(
        self,
        warm: float = 0.1,
        cool: float = 0.3,
        shape: Literal["linear", "cubic"] = "cubic",
        embedding: bool = True,
    ):
        raise_faults(self.faults(None, warm, cool, shape, embedding))
        self.warm, self.cool, self.embedding = warm, cool, embedding
        self.shape: Literal["linear", "cubic"] = shape

    @classmethod
    def faults(
        cls,
        num_layers: int | None,
        warm: float = 0.1,
        cool: float = 0.3,
        shape: str = "cubic",
        embedding: bool = True,
    ) -> list[str]:
        faults = number_faults("schedule.warm", [warm], "[0, 1)")
        faults += number_faults("schedule.cool", [cool], "[0, 1)")
        if not faults and warm + cool >= 1:
            faults.append(f"schedule.cool must leave steps to prune: warm={warm}, got {cool}")
        if shape not in ("linear", "cubic"):
            faults.append(f"schedule.shape must be one of linear, cubic, got {shape!r}")
        return faults + switch_faults("schedule.embedding", embedding)

    def stages(self, num_epochs: int, exits: Sequence[int]) -> list[Stage]:
        frozen = () if self.embedding else ("embedding.*",)
        return [Stage(ramp=(self.warm, 1 - self.cool), shape=self.shape, frozen=frozen)]
