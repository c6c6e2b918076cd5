"""False negatives of one class: the share of its examples whose answer is another class.

What full depth misses counts too, so a level below its own misses cannot be reached.
Shapes: B examples; any axes before it.
"""

import numpy as np


def false_negatives(early_B: np.ndarray, label_B: np.ndarray, label: int) -> np.ndarray:
    """NaN for an example of another class: it is not counted."""
    missed_B = (early_B != label).astype(np.float64)
    return np.where(label_B == label, missed_B, np.nan)


class FalseNegatives:
    """`label` is the number of the class (the phishing that must not pass as benign)."""

    low = 0
    none_at_full_depth = False

    def __init__(self, label: int = 1):
        faults = self.faults(None, label=label)
        if faults:
            raise ValueError(faults[0])
        self.label = label

    @classmethod
    def faults(cls, num_layers: int | None, label: int = 1) -> list[str]:
        whole = isinstance(label, int) and not isinstance(label, bool)
        return [] if whole and label >= 0 else [f"risk.label must be 0 or more, got {label!r}"]

    def losses(self, full_B: np.ndarray, early_B: np.ndarray, label_B: np.ndarray) -> np.ndarray:
        return false_negatives(early_B, label_B, self.label)
