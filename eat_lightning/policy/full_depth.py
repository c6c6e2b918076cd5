"""Full depth for chosen examples, or for all while a switch is on (drift): nobody leaves early.

Shapes: B examples, E exits so far, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor

from eat_lightning.packed import Batch
from eat_lightning.policy._chosen import chosen, pattern_faults
from eat_lightning.slots import Reduction, Wish, raise_faults


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

    def wishes(self, batch: Batch, reduction: Reduction | None) -> Wish:
        return Wish(full_B=chosen(batch, self.sources, self.mimes)) if self.active else Wish()

    def reviews(
        self,
        reason_B: Int[Tensor, " b"],
        logits_EBC: Float[Tensor, "e b c"],
        batch: Batch,
        rows_B: Int[Tensor, " b"],
    ) -> Int[Tensor, " b"]:
        return reason_B
