"""EAT's schedule (algorithm 2): a reduction's strength rises linearly over the later epochs."""

from __future__ import annotations

from collections.abc import Sequence

from eat_lightning.bounds import number_faults, raise_faults
from eat_lightning.model.training import Stage


class Anneal:
    """One stage, in which strength is 0 up to epoch `start` and 1 from epoch `end` on.

    Where a run is cut to fewer steps, epochs shrink with it.
    """

    def __init__(self, start: float = 1.0, end: float = 3.0):
        raise_faults(self.faults(None, start=start, end=end))
        self.start, self.end = start, end

    @classmethod
    def faults(cls, num_layers: int | None, start: float = 1.0, end: float = 3.0) -> list[str]:
        faults = [
            *number_faults("schedule.start", [start], "[0, inf)"),
            *number_faults("schedule.end", [end], "[0, inf)"),
        ]
        if not faults and end < start:
            faults.append(f"schedule.end must be at least schedule.start={start}, got {end}")
        return faults

    def stages(self, num_epochs: int, exits: Sequence[int]) -> list[Stage]:
        return [Stage(ramp=(self.start / num_epochs, self.end / num_epochs))]
