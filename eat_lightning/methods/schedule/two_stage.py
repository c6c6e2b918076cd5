"""DeeBERT's training (Xin et al. 2020): body and last head first, then the early heads alone."""

from __future__ import annotations

from collections.abc import Sequence

from eat_lightning.bounds import number_faults, raise_faults
from eat_lightning.methods.schedule._stages import body_first, early_heads
from eat_lightning.model.training import Stage


class TwoStage:
    """body_share: of all steps, for body and last head; the others train the early heads, and what
    the exit rule learns, on a body that stays bit-equal. heads_lr: factor on the learning rate in
    the second stage.

    The early heads see no loss of the last exit, nor does an early loss reach the body, so the last
    exit is as good as a static model's; early ones are weaker than under a joint loss.
    """

    def __init__(self, body_share: float = 0.5, heads_lr: float = 1.0):
        raise_faults(self.faults(None, body_share=body_share, heads_lr=heads_lr))
        self.body_share, self.heads_lr = body_share, heads_lr

    @classmethod
    def faults(
        cls, num_layers: int | None, body_share: float = 0.5, heads_lr: float = 1.0
    ) -> list[str]:
        return [
            *number_faults("schedule.body_share", [body_share], "(0, 1)"),
            *number_faults("schedule.heads_lr", [heads_lr], "(0, inf)"),
        ]

    def stages(self, num_epochs: int, exits: Sequence[int]) -> list[Stage]:
        early = early_heads(exits)
        if not early:  # a static model has no second stage
            return [Stage()]
        return [
            body_first(self.body_share, exits),
            Stage(share=1 - self.body_share, trains=early, exits="early", lr=self.heads_lr),
        ]
