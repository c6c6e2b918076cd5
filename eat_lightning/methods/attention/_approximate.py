"""Base class of approximate attentions, which hide nothing and compute their own product.

A method's `mixed` computes its output from the queries, keys and values of an example.
`Approximate` takes them from the packed rows, in fp32, and puts the output back. Exponentials and
long sums lose too much in bf16.

Shapes: B examples, L longest length, N packed tokens, H heads, K head width, F features of a row.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from eat_lightning.model.contracts import Attention, Kernel, Where
from eat_lightning.model.packed import Layout
from eat_lightning.model.shape import Shape


@dataclass(frozen=True)
class Rows:
    """The rows of a padded block in layer `layer` (from 1): queries, keys, values, and what else is
    known of them.

    position_BL: place in the original text. weight_BL: log of how much a row counts as a key (0: as
    one token). A place past the end of an example repeats its last row and is not real. dropout: on
    attention.
    """

    layout: Layout
    layer: int
    q_BHLK: Float[Tensor, "b h l k"]
    k_BHLK: Float[Tensor, "b h l k"]
    v_BHLK: Float[Tensor, "b h l k"]
    position_BL: Int[Tensor, "b l"]
    weight_BL: Float[Tensor, "b l"]
    real_BL: Bool[Tensor, "b l"]
    dropout: float

    @property
    def size_BL(self) -> Float[Tensor, "b l"]:
        """Tell how many tokens a row counts for as a key, 0 past the end."""
        return self.weight_BL.exp() * self.real_BL

    @property
    def bias_BL(self) -> Float[Tensor, "b l"]:
        """The same as a term of the scores."""
        return self.weight_BL.masked_fill(~self.real_BL, float("-inf"))


class Approximate(Attention, nn.Module):
    """The base of patterns that have no mask."""

    approximate = True
    wants = frozenset({"position", "weight"})

    def __init__(self):
        super().__init__()  # torch's own takes anything, and arguments are read off the signature

    @abstractmethod
    def mixed(self, rows: Rows) -> Float[Tensor, "b h l k"]:
        """Give the product. It must not depend on the other examples of a batch."""

    def sees(self, q: Where, k: Where) -> Bool[Tensor, ...]:
        return torch.ones_like(q.index == k.index)

    def sees_all(self, longest: int, layer: int) -> bool:
        return True

    def kernel(self, layout: Layout, layer: int) -> Kernel | None:
        return partial(self._product, layer=layer)

    def _product(
        self,
        qkv_N3HK: Float[Tensor, "n 3 h k"],
        layout: Layout,
        dropout: float,
        *,
        layer: int,
        position_N: Int[Tensor, " n"] | None = None,
        weight_N: Float[Tensor, " n"] | None = None,
    ) -> Float[Tensor, "n h k"]:
        """position_N, weight_N: as `Packed` has them; None where nothing was dropped or merged."""
        q, k, v = layout.pad(qkv_N3HK.float()).permute(2, 0, 3, 1, 4)
        position_BL = layout.pad(layout.index_N if position_N is None else position_N)
        weight_BL = q.new_zeros(()) if weight_N is None else layout.pad(weight_N.float())
        weight_BL = weight_BL.expand_as(position_BL)
        real_BL = torch.ones_like(position_BL, dtype=torch.bool) if layout.even else layout.real_BL
        rows = Rows(layout, layer, q, k, v, position_BL, weight_BL, real_BL, dropout)
        with torch.autocast(q.device.type, enabled=False):
            mixed_BHLK = self.mixed(rows)
        return layout.unpad(mixed_BHLK.transpose(1, 2)).to(qkv_N3HK.dtype)


def linear_attention(
    q_BHLF: Float[Tensor, "b h l f"],
    k_BHLF: Float[Tensor, "b h l f"],
    v_BHLK: Float[Tensor, "b h l k"],
    size_BL: Float[Tensor, "b l"],
    least: float,
) -> Float[Tensor, "b h l k"]:
    """Attention whose weights are products of nonnegative features (Katharopoulos et al. 2020):
    sums over the keys first, so that the cost is linear in the length.

    least: the smallest divisor. A column of ones beside the values gives the divisors.
    """
    k_BHLF = k_BHLF * size_BL[:, None, :, None]
    sums_BHFK = k_BHLF.transpose(2, 3) @ F.pad(v_BHLK, (0, 1), value=1)
    mixed_BHLK, total_BHL1 = (q_BHLF @ sums_BHFK).split([v_BHLK.shape[-1], 1], dim=-1)
    return mixed_BHLK / total_BHL1.clamp(min=least)


def linear_flops(shape: Shape, num_features: int, tokens_B: Any) -> Any:
    """Cost of `linear_attention`: two products of features and values, divisors included."""
    return 4.0 * tokens_B * num_features * (shape.attention_width + shape.num_heads)
