"""EAT's schedule (algorithm 2): a reduction's strength rises linearly over the later epochs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from eat_lightning.model.contracts import Schedule, Stage
from eat_lightning.model.method import method
from eat_lightning.validation import NotNegative


@method("schedule")
class Anneal(Schedule):
    """One stage, in which strength is 0 up to epoch `start` and 1 from epoch `end` on.

    Where a run is cut to fewer steps, epochs shrink with it.
    """

    start: NotNegative = 1.0
    end: NotNegative = 3.0

    def rules(self, num_layers: int | None) -> Iterable[str]:
        if self.end < self.start:
            yield f"schedule.end must be at least schedule.start={self.start}, got {self.end}"

    def stages(self, num_epochs: int, exits: Sequence[int]) -> list[Stage]:
        return [Stage(ramp=(self.start / num_epochs, self.end / num_epochs))]
