"""The contract of a schedule: what trains when."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

from eat_lightning.model.contracts.objective import Objective
from eat_lightning.model.method import Method


@dataclass(frozen=True)
class Stage:
    """A part of training.

    Args:
        share: of all steps.
        ramp: shares of the stage between which a reduction's strength goes from 0 to 1, by `shape`;
            (0, 0) is full strength throughout, (2, 2) none.
        soft: reductions gate rows and drop none.
        trains: patterns of parameter names, such as "heads.*".
        frozen: patterns of parameters that stay bit-equal.
        exits: whose guesses the objective sees.
        lr: factor on the run's learning rate, which warms up and decays within the stage.
        objective: in place of the run's own.
    """

    share: float = 1.0
    ramp: tuple[float, float] = (0.0, 0.0)
    shape: Literal["linear", "cubic"] = "linear"
    soft: bool = False
    trains: tuple[str, ...] = ("*",)
    frozen: tuple[str, ...] = ()
    exits: Literal["all", "last", "early"] = "all"
    lr: float = 1.0
    objective: Objective | None = None

    def moves(self, name: str) -> bool:
        """True where this stage trains the parameter of this name."""
        frozen = any(fnmatchcase(name, pattern) for pattern in self.frozen)
        return not frozen and any(fnmatchcase(name, pattern) for pattern in self.trains)

    def strength(self, progress: float) -> float:
        """Tell how strongly a reduction acts when so much of the stage (0 ... 1) is done."""
        begin, end = self.ramp
        if progress >= end:
            return 1.0
        if progress <= begin:
            return 0.0
        linear = (progress - begin) / (end - begin)
        return linear if self.shape == "linear" else 1 - (1 - linear) ** 3


class Schedule(Method, ABC, slot="schedule"):
    """The stages of a run."""

    @abstractmethod
    def stages(self, num_epochs: int, exits: Sequence[int]) -> list[Stage]:
        """Give stages whose shares add up to 1.

        Args:
            num_epochs: of the run.
            exits: layers (1-based) with heads, the last included.
        """
