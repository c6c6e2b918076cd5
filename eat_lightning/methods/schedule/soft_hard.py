"""Learned pruning's training (PoWER-BERT 2020, LTP 2022): warm up, use soft gates, then drop
tokens."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated

from pydantic import Field

from eat_lightning.model.contracts import Schedule, Stage
from eat_lightning.model.method import method


@method("schedule")
class SoftHard(Schedule):
    """Stages that warm up, learn with soft gates, and then drop tokens.

    Args:
        warm: share of all steps without any reduction (PoWER-BERT's fine-tuning; LTP starts from a
            fine-tuned backbone and has none).
        soft: share of all steps with soft gates, in which the reduction's own parameters are
            trained (PoWER-BERT's search, LTP's soft threshold). The remaining steps drop tokens
            with these parameters frozen.
    """

    warm: Annotated[float, Field(ge=0, lt=1)] = 0.0
    soft: Annotated[float, Field(gt=0, lt=1)] = 0.4

    def rules(self, num_layers: int | None) -> Iterable[str]:
        if self.warm + self.soft >= 1:
            yield f"schedule.soft must leave steps to drop: warm={self.warm}, got {self.soft}"

    def stages(self, num_epochs: int, exits: Sequence[int]) -> list[Stage]:
        learned = ("reduction.*",)
        first = [Stage(share=self.warm, ramp=(2.0, 2.0), frozen=learned)] if self.warm else []
        return [
            *first,
            Stage(share=self.soft, soft=True),
            Stage(share=1 - self.warm - self.soft, frozen=learned),
        ]
