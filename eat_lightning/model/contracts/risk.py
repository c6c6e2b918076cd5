"""The contracts of certificates: a risk, and a procedure that keeps it below a level.

Shapes: B examples, T points from strict to lax, U units (examples, or groups of them).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from eat_lightning.answer_kind import SINGLE
from eat_lightning.model.method import Method


class Risk(Method, ABC, slot="risk"):
    """Loss of an early answer, against the full-depth answer or the label."""

    low: float = 0.0  # the least loss there can be; the most is 1
    none_at_full_depth: bool = False  # who runs every layer loses nothing
    kinds: Sequence[str] = (SINGLE,)  # of answers that it judges; it is refused for others

    @abstractmethod
    def losses(self, full_B: np.ndarray, early_B: np.ndarray, label_B: np.ndarray) -> np.ndarray:
        """Give the loss of each example, NaN where it does not count.

        Args:
            full_B: classes of the full-depth answers; any axes before it. Of other kinds they are
                numbers, equal where answers are the same.
            early_B: classes of the early answers.
            label_B: right classes.
        """


class Procedure(Method, ABC, slot="procedure"):
    """Tell how far from strict to lax a risk stays below its level, and what that promises."""

    uses_confidence: bool = False  # its promise holds with a stated confidence

    def refuses(self, num_chains: int, none_at_full_depth: bool) -> list[str]:
        """Give a line for each reason why its promise would not hold."""
        return []

    @abstractmethod
    def certified(
        self,
        chains: Sequence[np.ndarray],
        level: float,
        confidence: float,
        low: float = 0.0,
        binary: bool = True,
    ) -> list[np.ndarray]:
        """Count the points of each chain that hold, from the strict end; 0 is none.

        Args:
            chains: losses T x U.
            level: that the risk must not exceed.
            confidence: of the promise.
            low: the least loss there can be.
            binary: losses are 0 or 1.
        """

    @abstractmethod
    def needed(
        self, level: float, confidence: float, num_chains: int, low: float, binary: bool
    ) -> int:
        """Count the units without any loss that certify a point."""

    @abstractmethod
    def promise(self, risk: str, level: float, confidence: float) -> str:
        """Say in a sentence what holds of a certified point."""
