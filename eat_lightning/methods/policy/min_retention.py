"""Minimum retention (EAT, section 10): examples of chosen sources or MIME types keep at least a
share of their tokens.

Shapes: B examples, E exits so far, C classes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import Field

from eat_lightning.methods.policy._selection import OfSelection, chosen
from eat_lightning.model.method import method
from eat_lightning.model.policy import PolicyInput, PolicyRequest

if TYPE_CHECKING:
    from eat_lightning.model.contracts import Reduction

STEPS = 60  # halvings: as near as a double comes


@method("policy.min_retention")
class MinRetention(OfSelection):
    """Keeps at least a share of the tokens of chosen examples.

    Args:
        share: minimum share of their tokens; 1 turns off pruning for them.
        sources: patterns of the sources to which it applies; without `mimes` either, all.
        mimes: patterns of the MIME types to which it applies.
    """

    share: Annotated[float, Field(gt=0, le=1)] = 1.0
    sources: Sequence[str] = ()
    mimes: Sequence[str] = ()

    def export_blockers(self) -> list[str]:
        return ["policy=min_retention asks for more tokens, and an export prunes in its graphs"]

    def requests(self, inputs: PolicyInput, reduction: Reduction | None) -> PolicyRequest:
        if reduction is None:
            return PolicyRequest()
        most = gentlest(self.share, reduction.ratios())
        return PolicyRequest(
            strength_B=np.where(chosen(inputs, self.sources, self.mimes), most, 1.0)
        )


def gentlest(share: float, ratios: Sequence[float] | None) -> float:
    """The largest strength s in 0 ... 1 with (1 - p1 s)(1 - p2 s)... >= share: [CLS] aside, a layer
    of ratio p leaves at least (1 - p s) of the tokens. 0 where the ratios are not known."""

    def kept(strength: float) -> float:
        return math.prod(1 - ratio * strength for ratio in ratios or ())

    if ratios is None or share == 1:
        return 0.0
    if kept(1.0) >= share:
        return 1.0
    low, high = 0.0, 1.0
    for _ in range(STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if kept(middle) >= share else (low, middle)
    return low
