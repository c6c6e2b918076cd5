"""DeeBERT's training (Xin et al. 2020): body and last head first, then the early heads alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from eat_lightning.methods.schedule._stages import body_first, early_heads
from eat_lightning.model.contracts import Schedule
from eat_lightning.model.method import method
from eat_lightning.model.training import Stage
from eat_lightning.validation import Positive, Within


@method("schedule")
class TwoStage(Schedule):
    """body_share: of all steps, for body and last head; the others train the early heads, and what
    the exit rule learns, on a body that stays bit-equal. 0: it is tuned already
    (`encoder.pretrained=<run>/model`), and keeps its answers. heads_lr: factor on the learning rate
    in the second stage.

    The early heads see no loss of the last exit, nor does an early loss reach the body, so the last
    exit is as good as a static model's; early ones are weaker than under a joint loss.
    """

    body_share: Annotated[float, Within("[0, 1)")] = 0.5
    heads_lr: Positive = 1.0

    def stages(self, num_epochs: int, exits: Sequence[int]) -> list[Stage]:
        early = early_heads(exits)
        if not early:  # a static model has no second stage
            return [Stage()]
        heads = Stage(share=1 - self.body_share, trains=early, exits="early", lr=self.heads_lr)
        return [body_first(self.body_share, exits), heads] if self.body_share else [heads]
