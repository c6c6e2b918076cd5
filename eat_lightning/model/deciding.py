"""What an exit rule is asked at a head, with the shape of what it says compared on the host.

Shapes: B examples, E exits so far, C classes, S signals.
"""

from __future__ import annotations

from typing import Any

from jaxtyping import Float, Int
from torch import Tensor

from eat_lightning.bounds import Misshaped, shape_text


def decide(
    exit: Any, logits_EBC: Float[Tensor, "e b c"], signals_EBS: Float[Tensor, "e b s"] | None
) -> Int[Tensor, " b"]:
    """Ask an exit rule, with the signals that it observed if it does. Raises Misshaped."""
    if hasattr(exit, "observe"):
        decided_B = exit.decides(logits_EBC, signals_EBS)
    else:
        decided_B = exit.decides(logits_EBC)
    if getattr(decided_B, "shape", None) != logits_EBC.shape[1:2]:
        found = shape_text(decided_B)
        raise Misshaped(f"{type(exit).__name__}.decides must give B whole numbers, got {found}")
    return decided_B


def answer(exit: Any, logits_EBC: Float[Tensor, "e b c"]) -> Float[Tensor, "b c"]:
    """What the exit rule answers who leaves now: the last guess, unless it says otherwise."""
    answers = getattr(exit, "answers", None)
    return logits_EBC[-1] if answers is None else answers(logits_EBC)
