"""Learned pruning's training (PoWER-BERT 2020, LTP 2022): warm up, gate softly, drop for good."""

from __future__ import annotations

from collections.abc import Sequence

from eat_lightning.bounds import number_faults, raise_faults
from eat_lightning.model.training import Stage


class SoftHard:
    """warm: share of all steps without any reduction (PoWER-BERT's fine-tuning; LTP starts from a
    fine-tuned body and has none). soft: share in which rows are gated and the reduction's own
    parameters learn (PoWER-BERT's search, LTP's soft threshold). The rest drops rows by what was
    learned, which then stands still."""

    def __init__(self, warm: float = 0.0, soft: float = 0.4):
        raise_faults(self.faults(None, warm=warm, soft=soft))
        self.warm, self.soft = warm, soft

    @classmethod
    def faults(cls, num_layers: int | None, warm: float = 0.0, soft: float = 0.4) -> list[str]:
        faults = [
            *number_faults("schedule.warm", [warm], "[0, 1)"),
            *number_faults("schedule.soft", [soft], "(0, 1)"),
        ]
        if not faults and warm + soft >= 1:
            faults.append(f"schedule.soft must leave steps to drop: warm={warm}, got {soft}")
        return faults

    def stages(self, num_epochs: int, exits: Sequence[int]) -> list[Stage]:
        learned = ("reduction.*",)
        first = [Stage(share=self.warm, ramp=(2.0, 2.0), frozen=learned)] if self.warm else []
        return [
            *first,
            Stage(share=self.soft, soft=True),
            Stage(share=1 - self.warm - self.soft, frozen=learned),
        ]
