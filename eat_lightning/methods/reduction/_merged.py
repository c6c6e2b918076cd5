"""Merging of rows, shared by the merging reductions.

Shapes: M pairs of rows, N packed tokens.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Int
from torch import Tensor

from eat_lightning.model.packed import Packed


def merged(
    packed: Packed, from_M: Int[Tensor, " m"], into_M: Int[Tensor, " m"], proportional: bool
) -> Packed:
    """Rows `from_M` joined into `into_M` by their sizes, and left out. A joined row is where its
    largest part was (of equal ones where it was merged into), in the order of the text: backbones
    that turn by positions, or look at distances, meet it there."""
    layout, x_ND = packed.layout, packed.x_ND
    size_N = torch.ones_like(x_ND[:, 0]) if packed.size_N is None else packed.size_N
    position_N = largest_part(packed.position_N, size_N, from_M, into_M)
    sums_ND = x_ND * size_N[:, None]
    sums_ND = sums_ND.index_add(0, into_M, sums_ND[from_M])
    size_N = size_N.index_add(0, into_M, size_N[from_M])
    stays_N = torch.ones_like(layout.segment_N, dtype=torch.bool)
    stays_N[from_M] = False
    gone_B = torch.bincount(layout.segment_N[from_M], minlength=layout.size).cpu()
    weight_N = size_N.float().log() if proportional else packed.weight_N
    joined = replace(packed, x_ND=sums_ND / size_N[:, None], size_N=size_N, weight_N=weight_N)
    joined = replace(joined, position_N=position_N)
    rows_M = stays_N.nonzero().flatten()
    place_M = layout.segment_N[rows_M] * (1 + position_N.max()) + position_N[rows_M]
    return joined.take(rows_M[place_M.argsort()], layout.lengths_B - gone_B)


def largest_part(
    position_N: Int[Tensor, " n"],
    size_N: Tensor,
    from_M: Int[Tensor, " m"],
    into_M: Int[Tensor, " m"],
) -> Int[Tensor, " n"]:
    """The position of each row's largest part; of several such parts the first in the text."""
    largest_N = size_N.scatter_reduce(0, into_M, size_N[from_M], "amax")
    wins_M = (size_N[from_M] == largest_N[into_M]) & (size_N[from_M] > size_N[into_M])
    return position_N.scatter_reduce(
        0, into_M[wins_M], position_N[from_M[wins_M]], "amin", include_self=False
    )
