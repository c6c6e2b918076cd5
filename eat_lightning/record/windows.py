"""A split whose texts are read in windows: windows that run together, and one answer per text.

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
        rows_B: index, in the batch of texts, of each window's text.
        batch: their tokens, as the model takes them.
        is_part: whether they belong to one long text; else each is a text that fits one window.
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
    """A split whose examples are texts, with the interface of `Split` as far as timing needs it.

    Args:
        windows: the windows of all texts, an example each.
        text_W: row of each window's text.
        joiner: makes one answer of a text's windows.
        data: hash of the texts.
    """

    windows: Split
    text_W: np.ndarray
    joiner: Joiner
    data: str

    @classmethod
    def of(
        cls, split: Split, reader: Reader, kind: AnswerKind, labels: Sequence[str]
    ) -> TextWindows:
        """Cut the texts of a split into windows."""
        windows, text_W = in_windows(split, reader)
        joiner = Joiner(reader.long, kind, labels)
        return cls(windows, text_W, joiner, split.source.digest[:16])

    def __len__(self) -> int:
        return int(self.text_W[-1]) + 1

    @property
    def counts(self) -> np.ndarray:
        """Number of windows of each text."""
        return np.bincount(self.text_W)

    @property
    def lengths(self) -> np.ndarray:
        """Number of tokens of each text's windows together."""
        return np.bincount(self.text_W, self.windows.lengths).astype(int)

    def text(self, row: int) -> tuple[str, ...]:
        return self.windows.text(int(np.searchsorted(self.text_W, row)))

    def batch(self, rows_B: np.ndarray) -> list[WindowPack]:
        """Return one pack of all texts that fit one window, and the packs of each longer text."""
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
        """Return the record of all windows, grouped into texts."""
        return replace(windows, group_B=self.text_W, join=self.joiner, data=self.data)


def windows_of(split: Any) -> Any:
    """Return the split of windows of `TextWindows`; any other split is returned unchanged."""
    return split.windows if isinstance(split, TextWindows) else split


def grouped(record: Record, split: Any) -> Record:
    """Return the record of a split's rows, grouped into texts if they are windows."""
    return split.grouped(record) if isinstance(split, TextWindows) else record


def answer_texts(
    text_packs: Sequence[WindowPack], run: Callable[[WindowPack], Trace], joiner: Joiner
) -> Trace:
    """Answer the texts of a batch as a model does: windows after the one that decides a long text
    are not run.

    Args:
        run: returns the trace of a pack's windows.
        joiner: makes one answer of a text's windows.
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
