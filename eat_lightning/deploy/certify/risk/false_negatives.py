"""False negatives of one class: the share of its examples whose answer is another class.

What full depth misses counts too, so a level below its own misses cannot be reached.
Shapes: B examples; any axes before it.
"""

import numpy as np
from pydantic import NonNegativeInt

from eat_lightning.model.contracts import Risk
from eat_lightning.model.method import method


@method("risk")
class FalseNegatives(Risk):
    """`label` is the number of the class (the phishing that must not pass as benign)."""

    label: NonNegativeInt = 1

    low = 0
    none_at_full_depth = False

    def losses(self, full_B: np.ndarray, early_B: np.ndarray, label_B: np.ndarray) -> np.ndarray:
        missed_B = (early_B != self.label).astype(np.float64)
        return np.where(label_B == self.label, missed_B, np.nan)
