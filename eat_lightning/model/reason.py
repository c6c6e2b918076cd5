"""Why an example left where it did: the codes that exit rules and policies give and answers carry.

With the depth beside it an answer's reason reads "confident at 4". What each one means:

* last_layer: it ran every layer, and neither exit rule nor policy would have had it otherwise.
* confident: at that depth its largest class probability reached tau.
* patient: at that depth enough exits in a row had said the same class.
* vetoed: it ran every layer, because where it would have left a veto found no second voice for its
  answer. One that was held back and left at a later exit carries that exit's reason.
* fallback: it ran every layer, because full depth was asked for: its source is unknown or chosen
  for that, or the switch is on (drift). Whether an exit rule would have let it go is not asked.
"""

from __future__ import annotations

from enum import IntEnum
from functools import reduce
from typing import Any


class Reason(IntEnum):
    STAYS = 0
    LAST_LAYER = 1
    CONFIDENT = 2
    PATIENT = 3
    VETOED = 4
    FALLBACK = 5

    @property
    def label(self) -> str:
        return self.name.lower()


HELD = (Reason.VETOED, Reason.FALLBACK)  # at an early exit: stays, and this is why


def leaves(reason_B: Any) -> Any:
    """Whether these reasons, given at an early exit, let an example go. An array or a tensor."""
    return reduce(lambda going_B, code: going_B & (reason_B != code), HELD, reason_B != 0)
