"""Computed retention of a top-k reduction: the schedule, and its rounding.

EAT's algorithm 1 keeps [CLS] and ceil((1 - p)(t - 1)) of the t - 1 others. Shapes: B examples.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np


def ratios_of(
    arguments: Mapping[str, Any], num_layers: int, strength: float = 1.0
) -> list[Fraction] | None:
    """Return the exact shares p dropped before the last layer (0.3 is 3/10), times the schedule's
    strength. None for a reduction without `ratio`.
    """
    layers, ratio = arguments.get("layers"), arguments.get("ratio")
    if layers is None or ratio is None:
        return None
    each = ratio if isinstance(ratio, Sequence) else [ratio] * len(layers)
    return [
        Fraction(str(p)) * Fraction(str(strength))
        for p, layer in zip(each, layers, strict=True)
        if layer < num_layers
    ]


def scheduled(ratios: Sequence[Fraction]) -> float:
    """Expected retention by the paper: the product of 1 - p (0.7 x 0.7 = 0.49)."""
    return float(math.prod(1 - p for p in ratios))


def with_cls(lengths_B: np.ndarray, ratios: Sequence[Fraction]) -> np.ndarray:
    """Retention if [CLS] is always kept and nothing is rounded: s + (1 - s) / t."""
    share = scheduled(ratios)
    return share + (1 - share) / np.asarray(lengths_B)


def left(length: int, ratios: Sequence[Fraction]) -> int:
    """Tokens left of `length` by algorithm 1, in exact arithmetic."""
    others = length - 1
    for p in ratios:
        others = math.ceil((1 - p) * others)
    return 1 + others


def staircase(lengths_B: np.ndarray, ratios: Sequence[Fraction]) -> np.ndarray:
    """Retention by algorithm 1, including [CLS] and ceil()."""
    lengths_B = np.asarray(lengths_B)
    lengths_U, where_B = np.unique(lengths_B, return_inverse=True)
    left_U = np.array([left(int(length), ratios) for length in lengths_U])
    return (left_U / lengths_U)[where_B]
