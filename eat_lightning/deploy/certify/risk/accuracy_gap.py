"""Accuracy gap: 1 where only the full-depth answer is right, -1 where only the early one is.

Else 0. Its mean is the accuracy that leaving early costs. It may fall as more examples leave.
Shapes: B examples; any axes before it.
"""

import numpy as np

from eat_lightning.model.contracts import Risk


class AccuracyGap(Risk):
    low = -1
    none_at_full_depth = True

    def losses(self, full_B: np.ndarray, early_B: np.ndarray, label_B: np.ndarray) -> np.ndarray:
        return (full_B == label_B).astype(np.float64) - (early_B == label_B)
