"""What a policy is asked about, and what it asks for. Without torch.

Shapes: B examples.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Protocol

import numpy as np
from jaxtyping import Bool, Float


class Asked(Protocol):
    """The examples of a batch. The encoder's `Batch` is one; `Known` is all that an export has."""

    @property
    def size(self) -> int: ...

    def known(self, key: str) -> list[str | None]:
        """What is known of each example under this name; None where nothing is."""
        ...


@dataclass(frozen=True)
class Known:
    """What is known of each example besides its text, such as its source or mime type."""

    about: Sequence[Mapping[str, str]]

    @property
    def size(self) -> int:
        return len(self.about)

    def known(self, key: str) -> list[str | None]:
        return [about.get(key) for about in self.about]


@dataclass
class Wish:
    """What a policy asks for before its examples start; None asks for nothing.

    strength_B: the largest strength of each one's reduction, 0 ... 1. full_B: who runs every layer,
    for the reason `fallback`.
    """

    strength_B: Float[np.ndarray, " b"] | None = None
    full_B: Bool[np.ndarray, " b"] | None = None


def joined(wishes: Iterable[Wish]) -> Wish:
    """The least strength that any of them asks for, and full depth where any does."""
    asked = list(wishes)
    strengths = [wish.strength_B for wish in asked if wish.strength_B is not None]
    fulls = [wish.full_B for wish in asked if wish.full_B is not None]
    return Wish(
        strength_B=reduce(np.minimum, strengths) if strengths else None,
        full_B=reduce(np.logical_or, fulls) if fulls else None,
    )
