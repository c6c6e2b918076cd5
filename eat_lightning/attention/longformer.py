"""Longformer's window with a global [CLS] (Beltagy et al. 2020), as in EAT section 3.2.

The window counts the tokens that are left, not original positions: pruning brings far words near,
as the paper's shrinking t_l does. [CLS], the first token, sees all and is seen by all.
"""

from collections.abc import Sequence

from jaxtyping import Bool
from torch import Tensor

from eat_lightning.slots import Where, layer_faults, raise_faults


class Longformer:
    """`window` neighbours, half on each side; in `layers`, or in all where None."""

    def __init__(self, window: int = 32, layers: Sequence[int] | None = None):
        raise_faults(self.faults(None, window=window, layers=layers))
        self.window = window
        self.layers = None if layers is None else list(layers)

    @classmethod
    def faults(
        cls, num_layers: int | None, window: int = 32, layers: Sequence[int] | None = None
    ) -> list[str]:
        faults = [] if layers is None else layer_faults("attention.layers", layers, num_layers)
        whole = isinstance(window, int) and not isinstance(window, bool)
        if not whole or window < 2 or window % 2:
            faults.append(f"attention.window must be even and at least 2, got {window!r}")
        return faults

    def sees(self, q: Where, k: Where) -> Bool[Tensor, "..."]:
        near = (q.index - k.index).abs() <= self.window // 2
        seen = near | (q.index == 0) | (k.index == 0)
        return seen if self.layers is None or q.layer in self.layers else seen | True

    def sees_all(self, longest: int, layer: int) -> bool:
        windowed = self.layers is None or layer in self.layers
        return not windowed or longest - 2 <= self.window // 2
