"""Learn then test (Angelopoulos et al. 2021) by fixed-sequence testing, from strict to lax.

With the stated confidence over calibration samples, the risk of every point it certifies is at
most the level. Losses of 0 and 1 have an exact binomial p-value (Clopper-Pearson), others one for
bounded losses (betting). The points of a chain are one sequence of hypotheses, in an order fixed
before any data, and need no correction; several chains share the error by Bonferroni, delta /
number of chains each, so that whichever certified point is then chosen, for its cost or at will,
holds.

Shapes: T points from strict to lax, U units.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

import numpy as np

from eat_lightning.deploy.certify.procedure._bounds import betting, clopper_pearson, fixed_sequence
from eat_lightning.model.contracts import Procedure


class LearnThenTest(Procedure):
    uses_confidence = True

    def certified(
        self,
        chains: Sequence[np.ndarray],
        level: float,
        confidence: float,
        low: float = 0.0,
        binary: bool = True,
    ) -> list[np.ndarray]:
        """Count the points of each chain that hold; the last of them is the laxest certified."""
        delta = share(confidence, len(chains))
        counts = []
        for losses_TU in chains:
            if binary:
                p_T = clopper_pearson(losses_TU.sum(-1), losses_TU.shape[-1], level)
            else:
                p_T = betting(losses_TU, level, delta, low)
            counts.append(fixed_sequence(p_T, delta))
        return counts

    def needed(
        self, level: float, confidence: float, num_chains: int, low: float, binary: bool
    ) -> int:
        """Units without any loss that certify a point; fewer certify nothing."""
        delta = share(confidence, num_chains)
        if binary:  # (1 - level) ** units <= delta
            return int(np.ceil(np.log(delta) / np.log1p(-level)))

        def enough(num: int) -> bool:
            return bool(betting(np.zeros(num), level, delta, low) <= delta)

        high = 1
        while not enough(high) and high < 1 << 24:  # so that no trial is much larger than it need
            high *= 2
        return bisect_left(range(high), True, lo=1, key=enough)

    def promise(self, risk: str, level: float, confidence: float) -> str:
        sure = f"with {100 * confidence:g} % confidence over calibration samples"
        return f"{sure}, {risk} is at most {100 * level:g} %"


def share(confidence: float, num_chains: int) -> float:
    """The error that each chain may spend."""
    # 1 - 0.9 is 0.09999999999999998, which asks for one example more at a bound met exactly.
    return round(1 - confidence, 12) / num_chains
