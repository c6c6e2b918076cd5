"""The contracts of a certificate's slots: what a risk counts, and how a procedure bounds it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np


@runtime_checkable
class Risk(Protocol):
    """A loss of each example, at least `low` and at most 1, from its full-depth answer, its early
    one and its label (class numbers); NaN where the risk is not about the example.

    none_at_full_depth: where both answers are one there is no loss.
    """

    low: int
    none_at_full_depth: bool

    def losses(
        self, full_B: np.ndarray, early_B: np.ndarray, label_B: np.ndarray
    ) -> np.ndarray: ...


@runtime_checkable
class Procedure(Protocol):
    """How many points of each chain (losses, points from strict to lax x units) hold at a level;
    how many units without a loss that takes; what it promises; what it cannot do.

    uses_confidence: it bounds the risk with a confidence, and not only its expectation.
    """

    uses_confidence: bool

    def certified(
        self,
        chains: Sequence[np.ndarray],
        level: float,
        confidence: float,
        low: float,
        binary: bool,
    ) -> list[np.ndarray]: ...

    def needed(
        self, level: float, confidence: float, num_chains: int, low: float, binary: bool
    ) -> int: ...

    def promise(self, risk: str, level: float, confidence: float) -> str: ...

    def refuses(self, num_chains: int, none_at_full_depth: bool) -> list[str]: ...
