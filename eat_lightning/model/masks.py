"""Attention masks for the padded block, from patterns, the backbone's windows, relative positions
and key weights.

Shapes: B examples, L longest length, H heads.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool
from torch import Tensor

from eat_lightning.model.contracts import Attention, Where
from eat_lightning.model.packed import Packed
from eat_lightning.model.positions import Distance


def attention_mask(
    packed: Packed,
    pattern: Attention,
    layer: int,
    distance: Distance | None,
    see_all: bool = False,
    half_window: int | None = None,
) -> Tensor | None:
    """Return the attention mask of a layer for the padded block: bool, or float if a bias is added,
    or None if nothing is hidden. It is built once for each set of lengths and each kind of mask.

    Args:
        see_all: hide only padding, whatever the pattern says.
        half_window: also hide tokens that are farther away in the original text.
    """
    layout = packed.layout
    see_all = see_all or pattern.sees_all(layout.longest, layer)
    key = ("all" if see_all else ("pattern", layer), half_window)
    if key not in layout.cache:
        seen = None if layout.even else layout.real_BL[:, None, None, :]
        if not see_all:
            hidden_from = pattern_mask(packed, pattern, layer)
            seen = hidden_from if seen is None else seen & hidden_from
        if half_window is not None:
            position_BL = packed.layout.pad(packed.position_N)
            apart_BLL = (position_BL[:, :, None] - position_BL[:, None, :]).abs()
            near = (apart_BLL <= half_window)[:, None]
            seen = near if seen is None else seen & near
        bias_BHLL = None if distance is None else distance.bias(packed)
        layout.cache[key] = seen if bias_BHLL is None else with_bias(seen, bias_BHLL)
    return layout.cache[key]


def pattern_mask(packed: Packed, pattern: Attention, layer: int) -> Bool[Tensor, "b 1 l l"]:
    """Return `pattern.sees` for all pairs of places in the padded block."""
    layout = packed.layout
    index = torch.arange(layout.longest, device=layout.device)[None]
    position = layout.pad(packed.position_N)
    length = layout.there(layout.lengths_B)[:, None]
    q = Where(index[..., None], position[..., None], length[..., None], layer)
    k = Where(index[:, None], position[:, None], length[:, None], layer)
    return pattern.sees(q, k)[:, None]


def with_bias(mask: Tensor | None, bias_BHLL: Tensor) -> Tensor:
    """Return the mask with a bias added to the scores."""
    if mask is None:
        return bias_BHLL
    if mask.dtype == torch.bool:
        return bias_BHLL.masked_fill(~mask, float("-inf"))
    return mask + bias_BHLL


def with_key_weights(packed: Packed, mask: Tensor | None) -> Tensor | None:
    """Return the mask with the log weight of each key added to every query's scores. It is not
    cached, since a soft gate changes at each layer while lengths stay."""
    if packed.weight_N is None:
        return mask
    weight_B11L = packed.layout.pad(packed.weight_N)[:, None, None, :]
    if mask is None:
        return weight_B11L
    if mask.dtype == torch.bool:
        return torch.where(mask, weight_B11L, float("-inf"))
    return mask + weight_B11L
