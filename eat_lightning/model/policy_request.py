"""Input and requests of a policy, without torch.

Shapes: B examples.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Protocol

import numpy as np
from jaxtyping import Bool, Float


class PolicyInput(Protocol):
    """The examples of a batch: the encoder's `Batch`, or `KnownFields`, all that an export has."""

    @property
    def size(self) -> int: ...

    def known(self, key: str) -> list[str | None]:
        """Return the value of a known field for each example, None where it is missing."""
        ...


@dataclass(frozen=True)
class KnownFields:
    """Known fields of each example besides its text, such as its source or MIME type."""

    about: Sequence[Mapping[str, str]]

    @property
    def size(self) -> int:
        return len(self.about)

    def known(self, key: str) -> list[str | None]:
        return [about.get(key) for about in self.about]


@dataclass
class PolicyRequest:
    """Request of a policy before its examples start. A field that is None asks for nothing.

    Args:
        strength_B: the largest strength of each one's reduction, 0 ... 1.
        full_B: true where an example runs every layer, for the reason `fallback`.
    """

    strength_B: Float[np.ndarray, " b"] | None = None
    full_B: Bool[np.ndarray, " b"] | None = None


def joined(requests: Iterable[PolicyRequest]) -> PolicyRequest:
    """The least strength that any of them asks for, and full depth where any does."""
    found = list(requests)
    strengths = [request.strength_B for request in found if request.strength_B is not None]
    fulls = [request.full_B for request in found if request.full_B is not None]
    return PolicyRequest(
        strength_B=reduce(np.minimum, strengths) if strengths else None,
        full_B=reduce(np.logical_or, fulls) if fulls else None,
    )
