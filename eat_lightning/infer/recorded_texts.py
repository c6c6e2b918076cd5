"""Recorded windows of long texts, replayed under an exit rule text by text.

Shapes: B texts, W windows of all of them in their order, C classes, L layers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from eat_lightning.answer_kind import AnswerKind
from eat_lightning.infer.backend import FullDepthIfFound
from eat_lightning.infer.recorded import Outcome, Recorded
from eat_lightning.long_texts import Joiner
from eat_lightning.model.contracts import ExitRule
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.flops import flops, static_flops
from eat_lightning.model.policy import KnownFields
from eat_lightning.model.trace import run_tokens


@dataclass
class TextOutcome(Outcome):
    """Result of an exit rule on texts: depth and reason are those of each one's deepest window.

    Args:
        depth_W: of each window.
        counted_W: false for windows behind the one that ends its text.
    """

    recorded: RecordedTexts  # pyright: ignore[reportIncompatibleVariableOverride]
    depth_W: np.ndarray
    counted_W: np.ndarray

    @property
    def tokens_LB(self) -> np.ndarray:
        """Tokens of the windows that count, entering each layer that these ran."""
        depth_W = self.depth_W * self.counted_W
        return self.recorded.sums(run_tokens(self.recorded.windows.tokens_LB, depth_W))


@dataclass
class RecordedTexts:
    """Recorded windows, and the row of each one's text. group_B: as `Recorded` has it."""

    windows: Recorded
    text_W: np.ndarray
    joiner: Joiner
    data: str = ""
    group_B: np.ndarray | None = None

    def __len__(self) -> int:
        return int(self.text_W[-1]) + 1

    @property
    def kind(self) -> AnswerKind:
        return self.windows.kind

    @property
    def num_classes(self) -> int:
        return self.windows.num_classes

    @property
    def guesses(self) -> dict[int, np.ndarray]:
        """Every head's logits for each window."""
        return self.windows.guesses

    @property
    def labels(self) -> np.ndarray:
        return self.windows.labels[np.flatnonzero(np.diff(self.text_W, prepend=-1))]

    @property
    def tokens_LB(self) -> np.ndarray:
        """Tokens entering each layer when nobody leaves and no text ends early."""
        return self.sums(self.windows.tokens_LB)

    def sums(self, x_W: np.ndarray) -> np.ndarray:
        """Sum over the windows of each text, which the last axis holds."""
        starts_B = np.flatnonzero(np.diff(self.text_W, prepend=-1))
        return np.add.reduceat(x_W, starts_B, axis=-1)

    def under(self, exit: ExitRule) -> TextOutcome:
        """Replay an exit rule as a backend has it: a text of one window is answered as ever."""
        is_part_W = np.bincount(self.text_W)[self.text_W] > 1
        free = self.windows.under(exit)
        if not is_part_W.any():
            answers = free.logits_BC, free.depth_B, free.reason_B, free.names
            return TextOutcome(self, *answers, free.depth_B, ~is_part_W)
        policies = *self.windows.policies, FullDepthIfFound(self.joiner)
        batch: Any = self.windows.batch
        if not self.windows.policies:  # then no policy asks what is known of an example
            batch = lambda rows_W: KnownFields([{}] * len(rows_W))  # noqa: E731
        deep = replace(self.windows, policies=policies, batch=batch).under(exit)
        logits_WC = np.where(is_part_W[:, None], deep.logits_BC, free.logits_BC)
        depth_W = np.where(is_part_W, deep.depth_B, free.depth_B)
        reason_W = np.where(is_part_W, deep.reason_B, free.reason_B)
        counted_W = np.zeros(len(depth_W), bool)
        logits_BC, deepest = [], []
        for rows in np.split(np.arange(len(depth_W)), np.flatnonzero(np.diff(self.text_W)) + 1):
            counted = rows[: self.joiner.count(logits_WC[rows])]
            counted_W[counted] = True
            one_text_WC = logits_WC[counted]
            logits_BC.append(self.joiner.logits(one_text_WC) if len(rows) > 1 else one_text_WC[0])
            deepest.append(counted[depth_W[counted].argmax()])
        answers = np.stack(logits_BC), depth_W[deepest], reason_W[deepest]
        return TextOutcome(self, *answers, free.names, depth_W, counted_W)


def flops_of(encoder: AdaptiveEncoder, exit: ExitRule, outcome: Outcome) -> np.ndarray:
    """Count the FLOPs of each example under an exit rule (B); of a text, of all that counts."""
    if not isinstance(outcome, TextOutcome):
        recorded = outcome.recorded
        return flops(encoder, exit, recorded.tokens_LB, outcome.depth_B, recorded.lengths)
    texts, windows = outcome.recorded, outcome.recorded.windows
    flops_W = flops(encoder, exit, windows.tokens_LB, outcome.depth_W, windows.lengths)
    return texts.sums(flops_W * outcome.counted_W)


def static_flops_of(encoder: AdaptiveEncoder, recorded: Recorded | RecordedTexts) -> np.ndarray:
    """Count the FLOPs of each example without exits or reduction (B); of a text, of all windows."""
    if isinstance(recorded, Recorded):
        return static_flops(encoder, recorded.lengths)
    return recorded.sums(static_flops(encoder, recorded.windows.lengths))
