"""Steps of learned reductions: gate rows in a soft stage, keep a varying number in a hard one.

Shapes: B examples, N packed tokens.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from eat_lightning.model.packed import Packed


def gated(packed: Packed, gate_N: Float[Tensor, " n"], penalty: float, key_weight: bool) -> Packed:
    """Rows times their gates (0 ... 1), and `penalty` x the mean gate of each example for the loss.

    key_weight: the gates weigh rows as keys and in mean pooling too; with gates of 0 and 1 the
    result is then that of dropping rows. [CLS] is left as it is.
    """
    layout = packed.layout
    layout.check_rows("soften must gate rows by N numbers", gate_N)
    gate_N = torch.where(layout.index_N == 0, torch.ones_like(gate_N), gate_N)
    sums_B = gate_N.new_zeros(layout.size).index_add(0, layout.segment_N, gate_N)
    lengths_B = layout.there(layout.lengths_B)
    packed = packed.with_x(packed.x_ND * gate_N[:, None].to(packed.x_ND.dtype))
    packed = packed.with_penalty("gates", penalty * sums_B / lengths_B)
    return weighed(packed, gate_N) if key_weight else packed


def weighed(packed: Packed, gate_N: Float[Tensor, " n"]) -> Packed:
    """Rows that count as keys, and in mean pooling, by their gates."""
    # Finite at 0, and small enough to change nothing; the gradient stays that of the gate itself.
    log_N = (gate_N + 1e-20).log()
    weight_N = log_N if packed.weight_N is None else packed.weight_N + log_N
    size_N = gate_N if packed.size_N is None else packed.size_N * gate_N
    return replace(packed, weight_N=weight_N, size_N=size_N)


def forwarded(packed: Packed, share_N: Float[Tensor, " n"]) -> Packed:
    """These shares (0 ... 1) of the rows go straight to the end as they are now, where a head that
    pools the mean will count them."""
    layout, x_ND = packed.layout, packed.x_ND
    share_N = share_N.to(x_ND.dtype)
    sums_BD, counts_B = packed.forwarded_BD, packed.forwarded_B
    if sums_BD is None or counts_B is None:
        sums_BD, counts_B = x_ND.new_zeros(layout.size, x_ND.shape[1]), x_ND.new_zeros(layout.size)
    return replace(
        packed,
        forwarded_BD=sums_BD.index_add(0, layout.segment_N, x_ND * share_N[:, None]),
        forwarded_B=counts_B.index_add(0, layout.segment_N, share_N),
    )


def keep_where(packed: Packed, stays_N: Bool[Tensor, " n"]) -> Packed:
    """Only the rows named, and [CLS] in any case. How many stay is known only from the scores, so
    lengths are fetched from the device: the one wait that a threshold costs."""
    layout = packed.layout
    layout.check_rows("__call__ must keep rows by N truth values", stays_N)
    stays_N = stays_N | (layout.index_N == 0)
    counts_B = stays_N.new_zeros(layout.size, dtype=torch.int64)
    lengths_B = counts_B.index_add(0, layout.segment_N, stays_N.long()).cpu()
    if layout.holds(lengths_B):
        return packed
    return packed.take(stays_N.nonzero().flatten(), lengths_B)
