"""EAT's schedule (algorithm 2): the strength of a reduction increases linearly over the later
epochs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from eat_lightning.model.contracts import Schedule, Stage
from eat_lightning.model.method import method
from eat_lightning.validation import NotNegative


@method("schedule")
class Anneal(Schedule):
    """A single stage, in which the strength is 0 until epoch `start` and 1 from epoch `end` on.

    If a run is limited to fewer steps, epochs shrink accordingly.
    """

    start: NotNegative = 1.0
    end: NotNegative = 3.0

    def rules(self, num_layers: int | None) -> Iterable[str]:
        if self.end < self.start:
            yield f"schedule.end must be at least schedule.start={self.start}, got {self.end}"

    def stages(self, num_epochs: int, exits: Sequence[int]) -> list[Stage]:
        return [Stage(ramp=(self.start / num_epochs, self.end / num_epochs))]
