"""Accuracy gap: 1 where only the full-depth answer is right, -1 where only the early one is.

Else 0. Its mean is the accuracy that leaving early costs. It may fall as more examples leave.
Shapes: B examples; any axes before it.
"""

import numpy as np


def accuracy_gap(full_B: np.ndarray, early_B: np.ndarray, label_B: np.ndarray) -> np.ndarray:
    return (full_B == label_B).astype(np.float64) - (early_B == label_B)


class AccuracyGap:
    low = -1
    none_at_full_depth = True

    @classmethod
    def faults(cls, num_layers: int | None) -> list[str]:
        return []

    def losses(self, full_B: np.ndarray, early_B: np.ndarray, label_B: np.ndarray) -> np.ndarray:
        return accuracy_gap(full_B, early_B, label_B)
