"""Harm: the full-depth answer is right and the early one wrong.

Shapes: B examples; any axes before it.
"""

import numpy as np

from eat_lightning.model.contracts import Risk


class Harm(Risk):
    low = 0
    none_at_full_depth = True

    def losses(self, full_B: np.ndarray, early_B: np.ndarray, label_B: np.ndarray) -> np.ndarray:
        return ((full_B == label_B) & (early_B != label_B)).astype(np.float64)
