"""A window of texts answered: sorted by length, packed by a budget of tokens, and where the backend
is torch's, with the survivors of many batches going on together (`infer/depth_batching.py`)."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from eat_lightning.data.batching import within_budget
from eat_lightning.infer.backend import Backend
from eat_lightning.infer.depth_batching import Pool
from eat_lightning.infer.torch_backend import Encoded, TorchBackend, in_numpy
from eat_lightning.text_io import About, Texts
from eat_lightning.weights.untrusted import one_line

BYTES_PER_TOKEN = 4  # of a text, where a backend does not tell its tokens before it runs
ENCODED = 256  # texts tokenized at once
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
        if all("error" in answer for answer in one_by_one):
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
            given = [texts[i] for i in rows], [about[i] for i in rows]
            for left in self.backend.stream(*given):
                yield [rows[i] for i in left.places], left.answers

    @torch.inference_mode()
    def through_pools(self, backend: TorchBackend, texts: Texts, about: About) -> Iterator[Part]:
        """Answer texts by depth batching, each source in a pool that is flushed at the end. A
        shard's answers thus do not depend on the shards that a worker did before."""
        encoded = self.encoded(backend, texts)
        lengths, cut_B = np.array([len(each) for each in encoded.ids]), np.array(encoded.cut)
        for source, places in backend.places(about).items():
            encoder = backend.by_source[source]
            pool: Pool[int] = Pool(encoder, self.tokens, in_tokens=True)
            placed = np.array(places)
            for rows in self.batches(lengths[placed]):
                chosen = placed[rows].tolist()
                batch = backend.batch_of(encoded.take(chosen), [about[i] for i in chosen])
                yield from self.answered(backend, pool.add(chosen, batch), cut_B)
            yield from self.answered(backend, pool.flush(), cut_B)

    def encoded(self, backend: TorchBackend, texts: Texts) -> Encoded:
        """A few at a time: what a tokenizer gives beside ids is ten times their size."""
        ids: list[Any] = []
        types: list[Any] = []
        cut: list[bool] = []
        for start in range(0, len(texts), ENCODED):
            some = backend.encoded(texts[start : start + ENCODED])
            ids += [array("i", each) for each in some.ids]
            types += [array("i", each) for each in some.types or ()]
            cut += some.cut
        return Encoded(ids, types or None, cut)

    def answered(self, backend: TorchBackend, parts: Any, cut_B: np.ndarray) -> Iterator[Part]:
        for places, trace in parts:
            yield places, in_numpy(trace, cut_B[places]).answers(backend.kind, backend.labels)

    def batches(self, lengths_B: np.ndarray) -> Iterator[list[int]]:
        """Rows longest first, as many as have `tokens` together, and `batch` at most."""
        order = np.argsort(-lengths_B, kind="stable")
        for rows in within_budget(order, lengths_B[order], self.tokens):
            for start in range(0, len(rows), self.batch):
                yield rows[start : start + self.batch].tolist()
