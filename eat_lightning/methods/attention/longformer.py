"""Longformer's window with a global [CLS] (Beltagy et al. 2020), as in EAT section 3.2.

The window counts remaining tokens, not original positions: pruning brings distant words closer, as
the paper's shrinking t_l does. [CLS], the first token, attends to all tokens and all attend to it:
i attends to j if |i - j| <= window / 2, or if i or j is [CLS].
"""

from functools import partial
from typing import Annotated

import numpy as np
from jaxtyping import Bool
from pydantic import Field
from torch import Tensor

from eat_lightning.model.banded import banded_attention, pairs
from eat_lightning.model.contracts import Attention, Kernel, Where
from eat_lightning.model.method import method
from eat_lightning.model.packed import Layout
from eat_lightning.model.shape import Shape
from eat_lightning.validation import Layers

# The band is cut out where it holds at most this share of all pairs: with a window of 32, from 178
# tokens on. At 160 the masked product is as fast (12 heads of 32, one thread, batch 1 and 8).
PAYS = 0.4


@method("attention")
class Longformer(Attention):
    """Attention to neighbours and to [CLS].

    Args:
        window: neighbours, half of them on each side.
        layers: layers with the window. None: all.
    """

    window: Annotated[int, Field(ge=2, multiple_of=2)] = 32
    layers: Layers | None = None

    def sees(self, q: Where, k: Where) -> Bool[Tensor, "..."]:
        near = (q.index - k.index).abs() <= self.window // 2
        seen = near | (q.index == 0) | (k.index == 0)
        return seen if self._windowed(q.layer) else seen | True

    def sees_all(self, longest: int, layer: int) -> bool:
        return not self._windowed(layer) or longest - 2 <= self.window // 2

    def _windowed(self, layer: int) -> bool:
        return self.layers is None or layer in self.layers

    def kernel(self, layout: Layout, layer: int) -> Kernel | None:
        """The banded product, where it pays."""
        whole = layout.longest**2
        if not self._windowed(layer) or pairs(layout.longest, self.window // 2) > PAYS * whole:
            return None
        return partial(banded_attention, half_window=self.window // 2)

    def flops(self, shape: Shape, layer: int, tokens_B: np.ndarray) -> np.ndarray:
        """Cost of the pairs that are computed: those of the band where it is cut."""
        whole, band = tokens_B**2, pairs(tokens_B, self.window // 2)
        cut = self._windowed(layer) & (band <= PAYS * whole)
        return 4.0 * shape.attention_width * np.where(cut, band, whole)
