"""Recorded windows of long texts, replayed under an exit rule text by text.

Shapes: B texts, W windows of all of them in their order, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from eat_lightning.infer.backend import FullDepthIfFound
from eat_lightning.infer.recorded import Recorded
from eat_lightning.long_texts import Joiner
from eat_lightning.model.contracts import ExitRule


@dataclass
class TextOutcome:
    """Result of an exit rule on texts.

    Args:
        depth_B: of each text's deepest window.
        depth_W: of each window.
        counted_W: false for windows behind the one that ends its text.
    """

    logits_BC: np.ndarray
    depth_B: np.ndarray
    depth_W: np.ndarray
    counted_W: np.ndarray


@dataclass(frozen=True)
class RecordedTexts:
    """Recorded windows, and the row of each one's text."""

    windows: Recorded
    text_W: np.ndarray
    joiner: Joiner

    def under(self, exit: ExitRule) -> TextOutcome:
        """Replay an exit rule as a backend has it: a text of one window is answered as ever."""
        is_part_W = np.bincount(self.text_W)[self.text_W] > 1
        policies = (*self.windows.policies, FullDepthIfFound(self.joiner))
        free = self.windows.under(exit)
        deep = replace(self.windows, policies=policies).under(exit)
        logits_WC = np.where(is_part_W[:, None], deep.logits_BC, free.logits_BC)
        depth_W = np.where(is_part_W, deep.depth_B, free.depth_B)
        counted_W = np.zeros(len(depth_W), bool)
        logits_BC, depths = [], []
        for rows in np.split(np.arange(len(depth_W)), np.flatnonzero(np.diff(self.text_W)) + 1):
            counted = rows[: self.joiner.count(logits_WC[rows])]
            counted_W[counted] = True
            one_text_WC = logits_WC[counted]
            logits_BC.append(self.joiner.logits(one_text_WC) if len(rows) > 1 else one_text_WC[0])
            depths.append(depth_W[counted].max())
        return TextOutcome(np.stack(logits_BC), np.array(depths), depth_W, counted_W)
