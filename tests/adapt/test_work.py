"""Passes that an adaptation keeps: each answer stays with its text."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eat_lightning.deploy.adapt.work import BATCH, Work
from eat_lightning.model.trace import Trace

NUM = 2 * BATCH + 5


@dataclass
class LengthsOnly:
    """A split whose batches are the indices of their rows."""

    lengths: np.ndarray

    def __len__(self) -> int:
        return len(self.lengths)

    def batch(self, rows_B: Any) -> np.ndarray:
        return np.asarray(rows_B)


@pytest.mark.parametrize("numbered", [True, False], ids=["rows of each batch", "no rows"])
def test_answers_stay_with_their_texts(numbered: bool, tmp_path: Path):
    """Some models number the rows of each batch from 0, others do not."""
    split, work = LengthsOnly(np.random.default_rng(0).permutation(NUM)), Work(tmp_path)

    def answer(rows_B: np.ndarray) -> Trace:
        own_B = np.arange(len(rows_B)) if numbered else None
        return Trace(rows_B[:, None].astype(np.float32), np.full(len(rows_B), 6), rows_B=own_B)

    for _ in ("made", "kept"):
        trace = work.trace("model on certify", split, answer)
        assert trace.logits_BC[:, 0].tolist() == [*range(NUM)]
