"""Texts of a split as they are read in windows: what runs together, and one answer for each text.

Shapes: B texts of a batch, W windows of all texts in their order, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from eat_lightning.answer_kind import AnswerKind
from eat_lightning.data.split import Split, in_windows
from eat_lightning.long_texts import Joiner, Reader, packs
from eat_lightning.model.trace import Trace
from eat_lightning.record.record import Record


@dataclass(frozen=True)
class WindowPack:
    """Windows that go through a model together.

    Args:
        rows_B: places of their texts in the batch.
        batch: their tokens, in the form that the model takes.
        is_part: they are of one long text; else each is a text that fits.
    """

    rows_B: np.ndarray
    batch: Any
    is_part: bool

    def take(self, rows_G: np.ndarray) -> WindowPack:
        """Only the windows of these texts, ascending, which get their places there."""
        here = np.flatnonzero(np.isin(self.rows_B, rows_G))
        places = np.searchsorted(rows_G, self.rows_B[here])
        return replace(self, rows_B=places, batch=self.batch.take(torch.from_numpy(here)))


@dataclass(frozen=True)
class TextWindows:
    """A split whose examples are texts.

    Args:
        windows: of all texts, an example each.
        text_W: the row of each window's text.
        data: the hash of the texts.
    """

    windows: Split
    text_W: np.ndarray
    joiner: Joiner
    data: str

    @classmethod
    def of(
        cls, split: Split, reader: Reader, kind: AnswerKind, labels: Sequence[str]
    ) -> TextWindows:
        windows, text_W = in_windows(split, reader)
        joiner = Joiner(reader.long, kind, labels)
        return cls(windows, text_W, joiner, split.source.digest[:16])

    def __len__(self) -> int:
        return int(self.text_W[-1]) + 1

    @property
    def counts(self) -> np.ndarray:
        """Windows of each text."""
        return np.bincount(self.text_W)

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each text's windows together."""
        return np.bincount(self.text_W, self.windows.lengths).astype(int)

    def text(self, row: int) -> tuple[str, ...]:
        return self.windows.text(int(np.searchsorted(self.text_W, row)))

    def batch(self, rows_B: np.ndarray) -> list[WindowPack]:
        """Texts that fit in one pack; of each longer one its packs, in their order."""
        firsts_B = np.searchsorted(self.text_W, rows_B)
        counts_B = np.searchsorted(self.text_W, rows_B, "right") - firsts_B
        fit = np.flatnonzero(counts_B == 1)
        found = [WindowPack(fit, self.windows.batch(firsts_B[fit]), False)] if len(fit) else []
        for place in np.flatnonzero(counts_B > 1):
            windows = firsts_B[place] + np.arange(counts_B[place])
            for pack in packs(self.windows.lengths[windows].tolist()):
                batch = self.windows.batch(windows[pack])
                found.append(WindowPack(np.full(len(pack), place), batch, True))
        return found

    def grouped(self, windows: Record) -> Record:
        """The record of all windows, with the text that each belongs to."""
        return replace(windows, group_B=self.text_W, join=self.joiner, data=self.data)


def windows_of(split: Any) -> Any:
    """The windows of texts, an example each; a split of whole texts as it is."""
    return split.windows if isinstance(split, TextWindows) else split


def grouped(record: Record, split: Any) -> Record:
    """The record of a split's rows, with the text of each where they are windows."""
    return split.grouped(record) if isinstance(split, TextWindows) else record


def answer_texts(
    text_packs: Sequence[WindowPack], run: Callable[[WindowPack], Trace], joiner: Joiner
) -> Trace:
    """Answer the texts of a batch as a backend does.

    Args:
        run: gives the trace of a pack's windows.
    """
    found: list[Trace] = []
    ended = -1  # the last long text whose further windows do not count
    for pack in text_packs:
        row = int(pack.rows_B[0])
        if pack.is_part and row == ended:
            continue
        trace = replace(run(pack), rows_B=pack.rows_B)
        if pack.is_part and joiner.ends(trace.logits_BC):
            ended = row
        found.append(trace)
    windows = Trace.together(found)
    return joiner.joined(windows, windows.rows_B)
