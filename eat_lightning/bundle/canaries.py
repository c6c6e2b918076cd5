"""Canaries: texts with the logits that were certified, kept in an adapted folder.

Engines choose other kernels on other processors and in other versions. Whether that changes
answers, a folder can find out by itself: it answers these texts again.

Shapes: N texts, C columns of logits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from eat_lightning.bundle.bundle import CANARIES, Bundle
from eat_lightning.errors import ConfigError, reading
from eat_lightning.long_texts import Answerer, LongTexts

ALONE = 16  # texts that are asked by themselves
NUM_CANARIES = 200
BATCH = 32


@dataclass(frozen=True)
class CanaryCheck:
    """How a model answered its canaries.

    Args:
        num: canaries.
        changed: of these, those whose answer is not the certified one.
        gap: largest difference of a logit.
    """

    num: int
    changed: int
    gap: float

    @property
    def status(self) -> int:
        """0 where every answer is the certified one, else 1."""
        return int(self.changed > 0)

    def as_dict(self) -> dict[str, Any]:
        return {"status": self.status, **asdict(self)}

    def __str__(self) -> str:
        gap = f"logits differ by {self.gap:.2g} at most"
        if not self.changed:
            return f"all {self.num} canaries are answered as certified; {gap}"
        return f"{self.changed} of {self.num} canaries are answered otherwise than certified; {gap}"


@dataclass(frozen=True)
class Canaries:
    """Texts by column, and their certified logits."""

    texts: dict[str, list[str]]
    logits_NC: np.ndarray

    @classmethod
    def of(
        cls, rows: Sequence[Sequence[str]], columns: Sequence[str], logits_NC: np.ndarray
    ) -> Canaries:
        """Canaries of these texts, an example in each row."""
        texts = {name: [row[i] for row in rows] for i, name in enumerate(columns)}
        return cls(texts, logits_NC.astype(np.float32))

    def write(self, folder: Path) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        columns = {name: pa.array(texts, pa.string()) for name, texts in self.texts.items()}
        logits = pa.array(self.logits_NC.tolist(), pa.list_(pa.float32()))
        pq.write_table(pa.table(columns | {"logits": logits}), Bundle(folder).canaries)

    @classmethod
    def read(cls, folder: Path) -> Canaries:
        """The canaries of a folder. ConfigError, in one line, where it has none that can be
        read."""
        import pyarrow as pa  # a server without it answers no canaries, and says so
        import pyarrow.parquet as pq

        path = Bundle(folder).canaries
        if not path.is_file():
            raise ConfigError(f"run={folder}: has no {CANARIES}, which `eat adapt` writes")

        with reading(path, pa.ArrowException):
            columns: dict[str, Any] = pq.read_table(path).to_pydict()
            logits_NC = np.array(columns.pop("logits"), np.float32)
            if logits_NC.ndim != 2 or not len(logits_NC):
                raise ValueError("logits must be a list of numbers in each row")
            return cls(columns, logits_NC)

    def check(self, model: Answerer, long: LongTexts) -> CanaryCheck:
        """Compare a model's answers with them. The first are asked alone, because a single text may
        take another graph than a batch.

        Args:
            long: how long texts were read when these were certified.
        """
        reader = replace(model.reader, long=long)
        rows = [list(row) for row in zip(*self.texts.values(), strict=True)]
        logits_NC = np.full_like(self.logits_NC, np.nan)  # a refused text is another answer
        alone = range(min(ALONE, len(rows)))
        starts = [*alone, *range(len(alone), len(rows), BATCH)]
        for start, end in pairwise([*starts, len(rows)]):
            for trace in model.stream(rows[start:end], reader=reader):
                logits_NC[start + trace.rows_B] = trace.logits_BC[:, : logits_NC.shape[1]]
        answered_N = np.isfinite(logits_NC).all(1)
        same_N = answered_N & np.asarray(model.kind.same(logits_NC, self.logits_NC))
        gap_NC = np.abs(logits_NC - self.logits_NC)[answered_N]
        gap = float(gap_NC.max()) if answered_N.any() else np.inf
        return CanaryCheck(len(rows), int((~same_N).sum()), gap)
