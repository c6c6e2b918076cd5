"""Conformal risk control (Angelopoulos et al. 2022): it bounds an expectation, and nothing more.

The risk, averaged over calibration samples and the next example, is at most the level. A single
calibration sample may be unlucky, and no confidence says how often: learn_then_test does. The proof
wants a loss that never falls from strict to lax and none at the strictest point. No risk of exits
is so by itself (a later exit may repair an earlier one, an accuracy gap may fall), so each example
is given its largest loss on the way, which bounds its own; false negatives, of which full depth has
some, are refused, and so is a choice among several chains, which the proof does not cover.

Shapes: T points from strict to lax, U units.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from eat_lightning.model.contracts import Procedure


class Conformal(Procedure):
    uses_confidence = False

    def refuses(self, num_chains: int, none_at_full_depth: bool) -> list[str]:
        faults = []
        if num_chains > 1:
            faults.append(
                f"procedure=conformal holds for one chain of points, got {num_chains}: give "
                "exits=shared and at most one of ratios, or procedure=learn_then_test"
            )
        if not none_at_full_depth:
            faults.append(
                "procedure=conformal needs a risk that full depth has none of: give "
                "procedure=learn_then_test"
            )
        return faults

    def certified(
        self,
        chains: Sequence[np.ndarray],
        level: float,
        confidence: float | None = None,
        low: float = 0.0,
        binary: bool = True,
    ) -> list[np.ndarray]:
        """Tell how many points of each chain (losses T x U) hold, counted from the strict end; 0 is
        none."""
        return [controlled(losses, level) for losses in chains]

    def needed(
        self, level: float, confidence: float | None, num_chains: int, low: float, binary: bool
    ) -> int:
        """Units without any loss that let a point hold: 1 / (units + 1) <= level."""
        return max(int(np.ceil(round(1 / level - 1, 9))), 1)

    def promise(self, risk: str, level: float, confidence: float | None) -> str:
        return (
            f"averaged over calibration samples, {risk} is at most {100 * level:g} %: an "
            "expectation, without a confidence"
        )


def controlled(losses_TU: np.ndarray, level: float) -> np.ndarray:
    """Points whose mean of losses, with one more example that loses 1, is at most the level."""
    worst_TU = np.maximum.accumulate(losses_TU, axis=-2)
    num = losses_TU.shape[-1]
    return (worst_TU.sum(-1) + 1 <= level * (num + 1) + 1e-9).sum(-1)
