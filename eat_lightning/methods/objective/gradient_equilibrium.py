"""Gradient equilibrium (ElasticBERT, Liu et al. 2022; Li et al. 2019).

With exits at many layers, the lower layers get the sum of all their gradients. Here, each layer
gets their mean: the gradient is scaled by 1 / (E - k + 1) before the k-th of E heads and by E - k
after it, which does not change the gradients of the heads.
"""

from __future__ import annotations

from eat_lightning.methods.objective._losses import EveryExit


class GradientEquilibrium(EveryExit):
    """The sum of every exit's loss, all of one weight, with `EveryExit`'s arguments."""

    def flow(self, k: int, num_exits: int) -> tuple[float, float]:
        """Factors before and behind the k-th exit's head (1-based)."""
        return 1 / (num_exits - k + 1), float(num_exits - k)
