"""The mixed regime (Kubaty et al. 2024, "How to train your multi-exit model?"): body and last head
first, then everything jointly.

Joint training from the start pulls an unfinished body towards its early heads; two stages never let
the body serve them.
"""

from __future__ import annotations

from collections.abc import Sequence

from eat_lightning.bounds import number_faults, raise_faults
from eat_lightning.methods.schedule._stages import body_first
from eat_lightning.model.training import Stage


class Mixed:
    """body_share: of all steps, for body and last head, while early heads stay bit-equal; in the
    others all trains. joint_lr: factor on the learning rate in the second stage."""

    def __init__(self, body_share: float = 0.5, joint_lr: float = 1.0):
        raise_faults(self.faults(None, body_share=body_share, joint_lr=joint_lr))
        self.body_share, self.joint_lr = body_share, joint_lr

    @classmethod
    def faults(
        cls, num_layers: int | None, body_share: float = 0.5, joint_lr: float = 1.0
    ) -> list[str]:
        return [
            *number_faults("schedule.body_share", [body_share], "(0, 1)"),
            *number_faults("schedule.joint_lr", [joint_lr], "(0, inf)"),
        ]

    def stages(self, num_epochs: int, exits: Sequence[int]) -> list[Stage]:
        if len(exits) == 1:  # a static model is trained whole throughout
            return [Stage()]
        return [
            body_first(self.body_share, exits),
            Stage(share=1 - self.body_share, lr=self.joint_lr),
        ]
