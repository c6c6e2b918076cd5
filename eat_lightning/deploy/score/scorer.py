"""A window of texts answered: sorted by length, packed by a budget of tokens, and where the backend
is torch's, with the survivors of many batches going on together (`infer/depth_batching.py`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from eat_lightning.data.batching import within_budget
from eat_lightning.errors import one_line
from eat_lightning.infer.backend import Backend
from eat_lightning.infer.depth_batching import Pool
from eat_lightning.infer.torch_backend import TorchBackend
from eat_lightning.long_texts import ReadText, placed
from eat_lightning.text_io import About, Texts, refusal

BYTES_PER_TOKEN = 4  # of a text, where a backend does not tell its tokens before it runs
Answers = list[dict[str, Any]]
Part = tuple[Sequence[int], Answers]  # places in the window, and their answers


@dataclass(frozen=True)
class Scorer:
    """tokens, batch: of a batch, at most. pooled: survivors of many batches go on together."""

    backend: Backend
    tokens: int
    batch: int
    pooled: bool

    def __call__(self, texts: Texts, about: About) -> Answers:
        """An answer for each, in order; {"error": why} for one on which the model fails.
        RuntimeError where it fails on each of several: that is no fault of theirs."""
        try:
            return self.answers(texts, about)
        except Exception as error:
            why = one_line(error, 160) or type(error).__name__
        if len(texts) == 1:
            return [{"error": f"the model failed on this row ({why})"}]
        one_by_one = [self([text], [known])[0] for text, known in zip(texts, about, strict=True)]
        if all(map(refusal, one_by_one)):
            raise RuntimeError(f"the model fails ({why})")
        return one_by_one

    def answers(self, texts: Texts, about: About) -> Answers:
        found: Answers = [{} for _ in texts]
        for places, answers in self.parts(texts, about):
            for place, answer in zip(places, answers, strict=True):
                found[place] = answer
        return found

    def parts(self, texts: Texts, about: About) -> Iterator[Part]:
        if self.pooled:
            assert isinstance(self.backend, TorchBackend)
            yield from self.through_pools(self.backend, texts, about)
            return
        sizes = [sum(len(text.encode()) for text in each) for each in texts]
        for rows in self.batches(1 + np.array(sizes) // BYTES_PER_TOKEN):
            yield from self.streamed(rows, texts, about)

    def streamed(self, rows: Sequence[int], texts: Texts, about: About) -> Iterator[Part]:
        given = [texts[i] for i in rows], [about[i] for i in rows]
        for trace in self.backend.stream(*given):
            answers = self.backend.printed(trace)
            yield [rows[i] for i in answers], [*answers.values()]

    @torch.inference_mode()
    def through_pools(self, backend: TorchBackend, texts: Texts, about: About) -> Iterator[Part]:
        """Answer texts by depth batching, in a pool that is flushed at the end. A shard's answers
        thus do not depend on the shards that a worker did before. A text of several windows is a
        unit of its own."""
        read = backend.reader(texts)
        fits_B = np.array([len(text.windows) == 1 for text in read])
        yield from self.streamed(np.flatnonzero(~fits_B).tolist(), texts, about)
        pool: Pool[int] = Pool(backend.encoder, self.tokens, in_tokens=True)
        placed = np.flatnonzero(fits_B)
        for rows in self.batches(np.array([len(read[i].windows[0].ids) for i in placed], int)):
            chosen = placed[rows].tolist()
            windows, known = [read[i].windows[0] for i in chosen], [about[i] for i in chosen]
            yield from self.answered(read, pool.add(chosen, backend.batch_of(windows, known)))
        yield from self.answered(read, pool.flush())

    def answered(self, read: Sequence[ReadText], parts: Any) -> Iterator[Part]:
        for places, trace in parts:
            answers = self.backend.printed(placed(trace.numpy(guesses=False), places, read))
            yield [*answers], [*answers.values()]

    def batches(self, lengths_B: np.ndarray) -> Iterator[list[int]]:
        """Rows longest first, as many as have `tokens` together, and `batch` at most."""
        order = np.argsort(-lengths_B, kind="stable")
        for rows in within_budget(order, lengths_B[order], self.tokens):
            for start in range(0, len(rows), self.batch):
                yield rows[start : start + self.batch].tolist()
