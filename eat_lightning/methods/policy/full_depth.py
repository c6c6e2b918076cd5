"""Full depth for chosen examples, or for all while a switch is on (drift): nobody leaves early.

Shapes: B examples, E exits so far, C classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from eat_lightning.methods.policy._chosen import OfChosen, Patterns, chosen
from eat_lightning.model.method import method
from eat_lightning.model.wish import Asked, Wish

if TYPE_CHECKING:
    from eat_lightning.model.contracts import Reduction


@method("policy.full_depth")
class FullDepth(OfChosen):
    """`active` may be set at any time, and counts for batches that start afterwards. `sources` and
    `mimes`: whom it is about (patterns; neither given: all). Tokens are pruned as ever."""

    active: bool = True
    sources: Patterns = ()
    mimes: Patterns = ()

    def wishes(self, asked: Asked, reduction: Reduction | None) -> Wish:
        return Wish(full_B=chosen(asked, self.sources, self.mimes)) if self.active else Wish()
