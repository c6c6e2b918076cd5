"""The mixed regime (Kubaty et al. 2024, "How to train your multi-exit model?"): backbone and last
head first, then everything jointly.

Joint training from the start adapts an unfinished backbone to its early heads, whereas training in
two stages never adapts it to them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from eat_lightning.methods.schedule._stages import backbone_first
from eat_lightning.model.contracts import Schedule, Stage
from eat_lightning.model.method import method
from eat_lightning.validation import Positive


@method("schedule")
class Mixed(Schedule):
    """Stages that train the backbone and its last head first, and then everything.

    Args:
        backbone_share: share of all steps that train only backbone and last head.
        joint_lr: factor on the learning rate in the second stage.
    """

    backbone_share: Annotated[float, Field(gt=0, lt=1)] = 0.5
    joint_lr: Positive = 1.0

    def stages(self, num_epochs: int, exits: Sequence[int]) -> list[Stage]:
        if len(exits) == 1:  # a static model is trained whole throughout
            return [Stage()]
        return [
            backbone_first(self.backbone_share, exits),
            Stage(share=1 - self.backbone_share, lr=self.joint_lr),
        ]
