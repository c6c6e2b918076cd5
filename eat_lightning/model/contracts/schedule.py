"""The contract of a schedule: what trains when."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from eat_lightning.model.method import Method
from eat_lightning.model.training import Stage


class Schedule(Method, ABC):
    """The stages of a run."""

    @abstractmethod
    def stages(self, num_epochs: int, exits: Sequence[int]) -> list[Stage]:
        """Give stages whose shares add up to 1.

        Args:
            num_epochs: of the run.
            exits: layers (1-based) with heads, the last included.
        """
