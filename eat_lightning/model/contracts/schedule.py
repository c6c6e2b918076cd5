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
    """One stage of training.

    Args:
        share: share of all steps.
        ramp: shares of the stage between which the strength of a reduction increases from 0 to 1,
            by `shape`; (0, 0) is full strength throughout, (2, 2) none.
        soft: whether reductions gate rows instead of dropping them.
        trains: patterns of parameters to train, such as "heads.*".
        frozen: patterns of parameters that do not change.
        exits: exits whose logits the objective gets.
        lr: factor on the run's learning rate, which warms up and decays within the stage.
        objective: an objective instead of the run's own.
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
        """Whether this stage trains the parameter of this name."""
        frozen = any(fnmatchcase(name, pattern) for pattern in self.frozen)
        return not frozen and any(fnmatchcase(name, pattern) for pattern in self.trains)

    def strength(self, progress: float) -> float:
        """Return the strength of a reduction after a share of the stage (0 ... 1)."""
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
        """Return stages whose shares add up to 1.

        Args:
            num_epochs: epochs of the run.
            exits: layers (1-based) with heads, the last included.
        """
