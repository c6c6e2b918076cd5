"""A backbone's own window: in some layers a token sees its neighbours in the original text alone
(ModernBERT, Warner et al. 2024, section 2.1.1).

Distances are those of original positions: what a token saw in training it sees after pruning, and
dropping a row equals hiding it. (The window of `attention=longformer` counts the rows that are
left.)
"""

from __future__ import annotations

from functools import partial

from eat_lightning.model.banded import near_attention, near_pairs
from eat_lightning.model.contracts import Attention, Kernel
from eat_lightning.model.evidence import MATRIX
from eat_lightning.model.packed import Packed

PAYS = 0.4  # the band is cut out where it holds at most this share of all pairs, as for Longformer


def local_kernel(
    packed: Packed,
    pattern: Attention,
    layer: int,
    half_window: int,
    longest: int,
    needs: frozenset[str],
) -> Kernel | None:
    """The banded product, where it pays and can do all that is needed: nothing hidden besides, no
    weights of keys, rows in the order of their positions (a merge may break it)."""
    hides = pattern.approximate or not pattern.sees_all(longest, layer)
    merged = packed.weight_N is not None or packed.size_N is not None
    if hides or merged or needs & MATRIX or near_pairs(longest, half_window) > PAYS * longest**2:
        return None
    return partial(near_attention, half_window=half_window, position_N=packed.position_N)
