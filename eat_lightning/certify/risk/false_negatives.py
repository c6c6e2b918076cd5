"""False negatives of one class: the share of its examples whose answer is another class.

What full depth misses counts too, so a level below its own misses cannot be reached.
Shapes: B examples; any axes before it.
"""

import numpy as np

from eat_lightning.bounds import raise_faults, whole_faults


class FalseNegatives:
    """`label` is the number of the class (the phishing that must not pass as benign)."""

    low = 0
    none_at_full_depth = False

    def __init__(self, label: int = 1):
        raise_faults(self.faults(None, label=label))
        self.label = label

    @classmethod
    def faults(cls, num_layers: int | None, label: int = 1) -> list[str]:
        return whole_faults("risk.label", label, 0)

    def losses(self, full_B: np.ndarray, early_B: np.ndarray, label_B: np.ndarray) -> np.ndarray:
        missed_B = (early_B != self.label).astype(np.float64)
        return np.where(label_B == self.label, missed_B, np.nan)
