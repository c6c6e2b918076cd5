"""The policy that windows of long texts add: full depth where the wanted label is found."""

from __future__ import annotations

from typing import Any

import numpy as np

from eat_lightning.long_texts import Joiner
from eat_lightning.model.policy import Policy
from eat_lightning.model.reason import Reason


class FullDepthIfFound(Policy):
    """Windows that would leave early with the label that is looked for run every layer, so that a
    text with many windows has no more false alarms than at full depth.

    Args:
        joiner: knows which label is looked for.
        is_part_B: mask of the examples that are windows of long texts; None: all are.
    """

    def __init__(self, joiner: Joiner, is_part_B: np.ndarray | None = None):
        self.joiner, self.is_part_B = joiner, is_part_B

    def reviews(
        self, reason_B: Any, logits_EBC: np.ndarray, inputs: Any, rows_B: np.ndarray
    ) -> np.ndarray:
        found_B = self.joiner.found(logits_EBC[-1])
        if self.is_part_B is not None:
            found_B = found_B & self.is_part_B[rows_B]
        return np.where(found_B, int(Reason.FALLBACK), reason_B)
