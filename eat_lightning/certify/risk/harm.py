"""Harm: the full-depth answer is right and the early one wrong.

Shapes: B examples; any axes before it.
"""

import numpy as np


def harm(full_B: np.ndarray, early_B: np.ndarray, label_B: np.ndarray) -> np.ndarray:
    return ((full_B == label_B) & (early_B != label_B)).astype(np.float64)


class Harm:
    low = 0
    none_at_full_depth = True

    @classmethod
    def faults(cls, num_layers: int | None) -> list[str]:
        return []

    def losses(self, full_B: np.ndarray, early_B: np.ndarray, label_B: np.ndarray) -> np.ndarray:
        return harm(full_B, early_B, label_B)
