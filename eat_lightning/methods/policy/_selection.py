"""Which examples of a batch a policy is about, by where they come from and what type they have.

Shapes: B examples.
"""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import numpy as np

from eat_lightning.model.policy import Policy, PolicyInput

if TYPE_CHECKING:
    from jaxtyping import Bool


class OfSelection(Policy):
    """Base class of policies that select examples by source and type, before they start."""

    sources: Sequence[str]
    mimes: Sequence[str]

    def asks(self) -> set[str]:
        return {key for key, given in (("source", self.sources), ("mime", self.mimes)) if given}


def chosen(
    inputs: PolicyInput, sources: Sequence[str] = (), mimes: Sequence[str] = ()
) -> Bool[np.ndarray, " b"]:
    """True where an example's `source` or `mime` matches one of the patterns, where * stands for
    anything. Without patterns all examples match. An unknown value matches only *. A MIME type
    counts without its parameters, in lower case."""
    if not (sources or mimes):
        return np.ones(inputs.size, bool)
    found = [
        matches(source or "", sources) or matches(plain(mime or ""), [m.lower() for m in mimes])
        for source, mime in zip(inputs.known("source"), inputs.known("mime"), strict=True)
    ]
    return np.array(found, bool)


def matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def plain(mime: str) -> str:
    """ "Text/HTML; charset=utf-8" -> "text/html"."""
    return mime.partition(";")[0].strip().lower()
