"""The decision of an exit rule at a head, with its shape compared on the host.

Shapes: B examples, E exits so far, C classes, S signals.
"""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor

from eat_lightning.model.contracts import ExitRule
from eat_lightning.validation import Misshaped, shape_text


def decide(
    exit: ExitRule,
    logits_EBC: Float[Tensor, "e b c"],
    signals_EBS: Float[Tensor, "e b s"] | None,
) -> Int[Tensor, " b"]:
    """Ask an exit rule. Raises Misshaped where it gives no whole number for each example."""
    decided_B = exit.decides(logits_EBC, signals_EBS)
    if not isinstance(decided_B, Tensor) or decided_B.shape != logits_EBC.shape[1:2]:
        found = shape_text(decided_B)
        raise Misshaped(f"{type(exit).__name__}.decides must give B whole numbers, got {found}")
    if decided_B.is_floating_point():
        kind = str(decided_B.dtype).removeprefix("torch.")
        raise Misshaped(f"{type(exit).__name__}.decides must give whole numbers, got {kind}")
    return decided_B
