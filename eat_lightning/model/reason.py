"""Why an example left where it did: codes in traces and exports, names in answers and rows.

With the depth beside it an answer's reason reads "confident at 4". A method names its own reason:
an exit rule has `reasons`, such as ("confident",), and decides with 0 (stays) or the 1-based number
of one of them; behind these four common codes they are numbered from `FIRST_REASON` on.

* last_layer: it ran every layer, and neither exit rule nor policy would have had it otherwise.
* vetoed: it ran every layer, because where it would have left a veto found no second voice for its
  answer. One that was held back and left at a later exit carries that exit's reason.
* fallback: it ran every layer, because full depth was wanted: its source is unknown or chosen
  for that, or the switch is on (drift). Whether an exit rule would have let it go does not count.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from functools import reduce
from typing import Any


class Reason(IntEnum):
    """The codes that belong to no exit rule."""

    STAYS = 0
    LAST_LAYER = 1
    VETOED = 2
    FALLBACK = 3


FIRST_REASON = 4  # the first of an exit rule's own
OVERRULED = (Reason.VETOED, Reason.FALLBACK)  # at an early exit: stays, and this is why


def coded(decided_B: Any) -> Any:
    """An exit rule's decisions (0 = stays, n = its n-th reason) as codes, array or tensor."""
    return decided_B + (decided_B >= 1) * (FIRST_REASON - 1)


def reason_names(reasons: Sequence[str] = ("exit",)) -> dict[int, str]:
    """Name every code that a trace can hold, under an exit rule with these reasons."""
    common = {int(reason): reason.name.lower() for reason in Reason}
    return common | dict(enumerate(reasons, start=FIRST_REASON))


def leaves(reason_B: Any) -> Any:
    """True where a reason code at an early exit lets the example leave. Arrays and tensors are
    accepted."""
    return reduce(lambda going_B, code: going_B & (reason_B != code), OVERRULED, reason_B != 0)
