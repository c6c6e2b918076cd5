"""PABEE's objective (Zhou et al. 2020): losses of deeper exits have more weight.

L = sum_l l x L_l / sum_l l, where l is the layer of an exit. With an exit at every layer, it is the
paper's index of the classifier.
"""

from __future__ import annotations

from collections.abc import Collection

from eat_lightning.methods.objective._losses import EveryExit


class DepthWeighted(EveryExit):
    """The mean of the exits' losses, each weighed by its layer, with `EveryExit`'s arguments."""

    def _weights(self, layers: Collection[int]) -> dict[int, float]:
        return {layer: layer / sum(layers) for layer in layers}
