"""Answer a window of texts, sorted by length and packed up to a number of tokens. In torch,
remaining examples of many batches continue together (`bundle/depth_batching.py`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from eat_lightning.bundle.depth_batching import Pool
from eat_lightning.bundle.model import Model
from eat_lightning.bundle.torch_model import TorchModel
from eat_lightning.data.batching import within_budget
from eat_lightning.deploy.score.plan import ScorerSettings
from eat_lightning.errors import ConfigError, one_line
from eat_lightning.long_texts import ReadText, placed
from eat_lightning.model.trace import Trace
from eat_lightning.monitor.observation import observations
from eat_lightning.text_io import About, InputLine, Texts, refusal

KERNELS = "32"  # enough for a batch at all of its shapes
FAILED = "the model failed on this row"
BYTES_PER_TOKEN = 4  # of a text, where a model does not tell its tokens before it runs
Answers = list[dict[str, Any]]
Part = tuple[Sequence[int], Answers]  # places in the window, and their answers


@dataclass(frozen=True)
class Scorer:
    """A model that answers windows of texts.

    Args:
        tokens: maximum tokens of a batch.
        batch: maximum examples of a batch.
        pooled: remaining examples of many batches continue together.
        watched: answers also hold an observation for the drift monitor, under "seen".
    """

    model: Model
    tokens: int
    batch: int
    pooled: bool
    watched: bool = False

    @classmethod
    def open(cls, plan: ScorerSettings, watched: bool = False) -> Scorer:
        """Open the model with one thread. Raises ConfigError with every error."""
        one_thread()
        model = plan.open()
        if plan.text_columns is not None and len(plan.text_columns) != len(model.columns):
            names = " and ".join(model.columns)
            raise ConfigError(f"text must name {len(model.columns)} ({names}), got {plan.text}")
        pooled = isinstance(model, TorchModel) if plan.pool is None else plan.pool
        if pooled and not isinstance(model, TorchModel):
            raise ConfigError(f"pool=true is for one model in torch, and {plan.run} is another")
        return cls(model, plan.tokens, plan.batch, pooled, watched)

    def __call__(self, rows: Sequence[InputLine]) -> Answers:
        """Return an answer for each row, in order; {"error": why} for rows without one."""
        sound = [row for row in rows if row.error is None]
        given = [row.texts for row in sound], [row.about for row in sound]
        answers = iter(self.answer_or_reject(*given))
        return [next(answers) if row.error is None else row.error for row in rows]

    def answer_or_reject(self, texts: Texts, about: About) -> Answers:
        """Return an answer for each text, in order; {"error": why} where the model fails.

        Raises:
            RuntimeError: where it fails on each of several texts, so that no text is the cause.
        """
        if not texts:
            return []
        try:
            return self.answers(texts, about)
        except Exception as error:
            why = one_line(error, 160) or type(error).__name__
        if len(texts) == 1:
            return [{"error": f"{FAILED} ({why})"}]
        pairs = zip(texts, about, strict=True)
        one_by_one = [self.answer_or_reject([text], [known])[0] for text, known in pairs]
        if all(refusal(answer).startswith(FAILED) for answer in one_by_one):
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
            assert isinstance(self.model, TorchModel)
            yield from self.through_pools(self.model, texts, about)
            return
        sizes = [sum(len(text.encode()) for text in each) for each in texts]
        for rows in self.batches(1 + np.array(sizes) // BYTES_PER_TOKEN):
            yield from self.stream(rows, texts, about)

    def stream(self, rows: Sequence[int], texts: Texts, about: About) -> Iterator[Part]:
        given = [texts[i] for i in rows], [about[i] for i in rows]
        for trace in self.model.stream(*given):
            answers = self.printed(trace)
            yield [rows[i] for i in answers], [*answers.values()]

    @torch.inference_mode()
    def through_pools(self, model: TorchModel, texts: Texts, about: About) -> Iterator[Part]:
        """Answer texts with depth-wise batching, in a pool that is emptied at the end. A window's
        answers thus do not depend on the worker's earlier windows. Texts with several windows are
        processed one at a time.
        """
        read = model.reader(texts)
        fits_B = np.array([len(text.windows) == 1 for text in read])
        yield from self.stream(np.flatnonzero(~fits_B).tolist(), texts, about)
        pool: Pool[int] = Pool(model.encoder, self.tokens, in_tokens=True)
        placed = np.flatnonzero(fits_B)
        for rows in self.batches(np.array([len(read[i].windows[0].ids) for i in placed], int)):
            chosen = placed[rows].tolist()
            windows, known = [read[i].windows[0] for i in chosen], [about[i] for i in chosen]
            yield from self.finish(read, pool.add(chosen, model.batch_of(windows, known)))
        yield from self.finish(read, pool.flush())

    def finish(self, read: Sequence[ReadText], parts: Any) -> Iterator[Part]:
        for places, trace in parts:
            answers = self.printed(placed(trace.numpy(guesses=False), places, read))
            yield [*answers], [*answers.values()]

    def printed(self, trace: Trace) -> dict[int, dict[str, Any]]:
        """Return answers by their place."""
        answers = self.model.printed(trace)
        if self.watched:
            for row, seen in zip(trace.rows_B.tolist(), observations(trace), strict=True):
                answers[row]["seen"] = seen
        return answers

    def batches(self, lengths_B: np.ndarray) -> Iterator[list[int]]:
        """Yield rows longest first, up to `tokens` tokens and `batch` examples each."""
        order = np.argsort(-lengths_B, kind="stable")
        for rows in within_budget(order, lengths_B[order], self.tokens):
            for start in range(0, len(rows), self.batch):
                yield rows[start : start + self.batch].tolist()


def one_thread() -> None:
    """Limit this process and its libraries to one core, with a small kernel cache.

    Call it before the model is opened. Every number of packed tokens needs its own kernels; oneDNN
    and torch's bridge would cache 1,024 each, which slowly grows to several hundred megabytes.
    """
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    for name in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):
        os.environ.setdefault(name, KERNELS)
    torch.set_num_threads(1)
    pa.set_cpu_count(1)
