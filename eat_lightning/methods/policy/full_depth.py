"""Full depth for chosen examples, or for all of them while a switch is on (after a drift alarm).

Shapes: B examples, E exits so far, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from eat_lightning.methods.policy._selection import OfSelection, chosen
from eat_lightning.model.method import method
from eat_lightning.model.policy import PolicyInput, PolicyRequest

if TYPE_CHECKING:
    from eat_lightning.model.contracts import Reduction


@method("policy.full_depth")
class FullDepth(OfSelection):
    """Runs examples through every layer. Their tokens are still pruned.

    Args:
        sources: patterns of the sources to which it applies; without `mimes` either, all.
        mimes: patterns of the MIME types to which it applies.
        active: can be set at any time, and applies to batches that start afterwards.
    """

    active: bool = True
    sources: Sequence[str] = ()
    mimes: Sequence[str] = ()

    def requests(self, inputs: PolicyInput, reduction: Reduction | None) -> PolicyRequest:
        return (
            PolicyRequest(full_B=chosen(inputs, self.sources, self.mimes))
            if self.active
            else PolicyRequest()
        )
