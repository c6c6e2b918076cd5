"""One head, or one pooler, for all exits: PABEE (Zhou et al. 2020) and SWEET (Rotem et al. 2023)
pool [CLS] of every layer with the same dense layer, and each exit has its own classes.

The parameters are those of the last head; each exit keeps its own temperature.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from eat_lightning.methods.head.pooled import Pooled
from eat_lightning.model.method import method


@method("head")
class Shared(Pooled):
    """A head whose parameters are shared by all exits.

    Args:
        separate_classes: each exit has its own last layer, and only the dense layer before it is
        shared.
        pool: as in `pooled`.
        activation: as in `pooled`.
    """

    separate_classes: bool = False

    alone = False

    def rules(self, num_layers: int | None) -> Iterable[str]:
        if self.separate_classes and self.activation is None:
            yield "head.separate_classes=true shares the dense layer: head.activation is null"

    def join(self, layer: int, heads: Mapping[int, Shared]) -> None:
        """Use the last head's parameters, which are registered there alone: else they would be
        saved once for each exit, which safetensors refuses."""
        last = heads[max(heads)]
        pooling = ("dense", "normed")
        for name in pooling if self.separate_classes else (*pooling, "classes"):
            if last is not self and self._modules.get(name) is not None:
                del self._modules[name]
                object.__setattr__(self, name, last.get_submodule(name))
