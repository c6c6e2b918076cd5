"""Reasons why an example left where it did: codes in traces and exports, names in answers and rows.

An exit rule names its own `reasons`, such as ("confident",). It decides with 0 (stays) or the
1-based number of one of them; their codes begin at `FIRST_REASON`, after the four common ones.
Together with the depth, an answer's reason reads "confident at 4". The common reasons are:

* last_layer: it ran every layer, since the exit rule let it leave nowhere.
* vetoed: it ran every layer because a veto did not confirm the answer where it would have left. An
  example that was held back and left at a later exit has that exit's reason.
* fallback: it ran every layer because a policy requested it, such as for an unknown source or while
  drift is reported, whatever the exit rule decided.
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
    """Return an exit rule's decisions (0 = stays, n = its n-th reason) as codes. Arrays and tensors
    are accepted."""
    return decided_B + (decided_B >= 1) * (FIRST_REASON - 1)


def reason_names(reasons: Sequence[str] = ("exit",)) -> dict[int, str]:
    """Return the name of every code that a trace can hold under an exit rule with these reasons."""
    common = {int(reason): reason.name.lower() for reason in Reason}
    return common | dict(enumerate(reasons, start=FIRST_REASON))


def leaves(reason_B: Any) -> Any:
    """Whether a reason code at an early exit lets the example leave. Arrays and tensors are
    accepted."""
    return reduce(lambda going_B, code: going_B & (reason_B != code), OVERRULED, reason_B != 0)
