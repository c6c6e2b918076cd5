"""DeeBERT's training (Xin et al. 2020): backbone and last head first, then only the early heads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from eat_lightning.methods.schedule._stages import backbone_first, early_heads
from eat_lightning.model.contracts import Schedule, Stage
from eat_lightning.model.method import method
from eat_lightning.validation import Positive


@method("schedule")
class TwoStage(Schedule):
    """Stages that train the backbone and its last head first, and then the early heads alone.

    The second stage also trains the parameters of the exit rule, on a frozen backbone. No early
    loss changes the backbone, so the last exit is as good as that of a static model, but early
    exits are weaker than with a joint loss.

    Args:
        backbone_share: share of all steps for the first stage; 0 for a fine-tuned backbone
            (`encoder.pretrained=<run>/model`), which keeps its answers.
        heads_lr: factor on the learning rate in the second stage.
    """

    backbone_share: Annotated[float, Field(ge=0, lt=1)] = 0.5
    heads_lr: Positive = 1.0

    def stages(self, num_epochs: int, exits: Sequence[int]) -> list[Stage]:
        early = early_heads(exits)
        if not early:  # a static model has no second stage
            return [Stage()]
        heads = Stage(share=1 - self.backbone_share, trains=early, exits="early", lr=self.heads_lr)
        return (
            [backbone_first(self.backbone_share, exits), heads] if self.backbone_share else [heads]
        )
