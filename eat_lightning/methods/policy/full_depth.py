"""Full depth for chosen examples, or for all while a switch is on (drift): nobody leaves early.

Shapes: B examples, E exits so far, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int

from eat_lightning.bounds import raise_faults
from eat_lightning.methods.policy._chosen import chosen, pattern_faults
from eat_lightning.model.wish import Asked, Wish

if TYPE_CHECKING:
    from eat_lightning.model.contracts import Reduction


class FullDepth:
    """`active` may be set at any time, and counts for batches that start afterwards. `sources` and
    `mimes`: whom it is about (patterns; neither given: all). Tokens are pruned as ever."""

    def __init__(self, active: bool = True, sources: Sequence[str] = (), mimes: Sequence[str] = ()):
        raise_faults(self.faults(None, active, sources, mimes))
        self.active, self.sources, self.mimes = active, list(sources), list(mimes)

    @classmethod
    def faults(
        cls,
        num_layers: int | None,
        active: Any = True,
        sources: Sequence[str] = (),
        mimes: Sequence[str] = (),
    ) -> list[str]:
        switch = isinstance(active, bool)
        return [
            *(
                []
                if switch
                else [f"policy.full_depth.active must be true or false, got {active!r}"]
            ),
            *pattern_faults("policy.full_depth.sources", sources),
            *pattern_faults("policy.full_depth.mimes", mimes),
        ]

    def asks(self) -> set[str]:
        return {key for key, given in (("source", self.sources), ("mime", self.mimes)) if given}

    def wishes(self, asked: Asked, reduction: Reduction | None) -> Wish:
        return Wish(full_B=chosen(asked, self.sources, self.mimes)) if self.active else Wish()

    def reviews(
        self,
        reason_B: Int[np.ndarray, " b"],
        logits_EBC: Float[np.ndarray, "e b c"],
        asked: Asked,
        rows_B: Int[np.ndarray, " b"],
    ) -> Int[np.ndarray, " b"]:
        return reason_B
