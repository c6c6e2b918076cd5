"""Disagreement: the early answer is not the full-depth one, whichever is right (no label is read).

Shapes: B examples; any axes before it.
"""

import numpy as np

from eat_lightning.answer_kind import PROBLEM_TYPES
from eat_lightning.model.contracts import Risk


class Disagreement(Risk):
    low = 0
    none_at_full_depth = True
    kinds = PROBLEM_TYPES

    def losses(self, full_B: np.ndarray, early_B: np.ndarray, label_B: np.ndarray) -> np.ndarray:
        return (full_B != early_B).astype(np.float64)
