"""One head for all exits, or one pooler: PABEE (Zhou et al. 2020) and SWEET (Rotem et al. 2023)
pool every layer's [CLS] by the same dense layer, with classes of each exit's own.

The parameters are the last head's; a temperature stays each exit's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from eat_lightning.bounds import raise_faults, switch_faults
from eat_lightning.methods.head.pooled import Pooled


class Shared(Pooled):
    """own_classes: each exit keeps a last layer of its own, and only the dense one before it is
    shared. pool, activation: as in `pooled`."""

    def __init__(
        self, pool: str = "cls", activation: str | None = "tanh", own_classes: bool = False
    ):
        super().__init__(pool, activation)
        raise_faults(self.faults(None, pool, activation, own_classes))
        self.own_classes = own_classes

    @classmethod
    def faults(
        cls,
        num_layers: int | None,
        pool: Any = "cls",
        activation: Any = "tanh",
        own_classes: Any = False,
    ) -> list[str]:
        faults = super().faults(num_layers, pool, activation)
        faults += switch_faults("head.own_classes", own_classes)
        if own_classes is True and activation is None:
            faults.append("head.own_classes=true shares the dense layer: head.activation is null")
        return faults

    def join(self, layer: int, heads: Mapping[int, Shared]) -> None:
        """Use the last head's parameters, which are registered there alone: else they would be
        saved once for each exit, which safetensors refuses."""
        last = heads[max(heads)]
        for name in ("dense",) if self.own_classes else ("dense", "classes"):
            if last is not self and isinstance(getattr(self, name), nn.Module):
                delattr(self, name)
                object.__setattr__(self, name, getattr(last, name))
