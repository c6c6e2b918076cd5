"""A cross-encoder in torch as a `Model`, whose candidates leave between layers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

import numpy as np

from eat_lightning.answer_kind import Score
from eat_lightning.bundle.kernels import encoder_of, in_kernels
from eat_lightning.bundle.rerank import rerank
from eat_lightning.bundle.torch_model import TorchModel
from eat_lightning.data.tokens import tokenizer_for
from eat_lightning.long_texts import CUT, AnswerRequest, TokenWindow
from eat_lightning.model.trace import Trace
from eat_lightning.record.lists import Counts
from eat_lightning.record.point import Point

COLUMNS = ["query", "candidate"]
SCORE_OF_LISTS = Score(tolerance=1.0)  # of no effect: orders are compared, no scores


@dataclass
class ListModel(TorchModel):
    """Answers pairs; those of one query in a batch are a list, whose candidates leave between
    layers. The certificate is for whole lists: of one that batches cut, each part is judged alone,
    and fewer candidates leave."""

    counts: Counts = field(default_factory=dict)
    ranks = True

    @classmethod
    def of(cls, folder: Path, max_length: int, point: Point, column: int | None = None) -> Self:
        """Open a cross-encoder's folder at a point.

        Args:
            column: the logit of a classifier that orders; None: a score does.
        """
        tokenizer = tokenizer_for(str(folder))
        encoder = encoder_of(folder, SCORE_OF_LISTS, len(COLUMNS), tokenizer, column)
        given = in_kernels(encoder, point.dtype), tokenizer, COLUMNS, [], max_length
        model = cls(folder, *given, counts=point.counts or {})
        model.read_long(CUT)
        return model

    def note_exits(self) -> None:
        self.exits = sorted({*self.counts, self.num_layers})

    def at(self, point: Point) -> Self:
        made = super().at(point)
        made.counts = point.counts or {}
        made.note_exits()
        return made

    def run(self, request: AnswerRequest) -> Iterator[Trace]:
        windows, about = request.windows, request.about
        list_B = self.lists_of(windows)
        order_B = np.argsort(list_B, kind="stable")
        batch = self.batch_of([windows[row] for row in order_B], [about[row] for row in order_B])
        counts = {} if request.deep else self.counts
        trace = rerank(self.encoder, batch, list_B[order_B], counts)
        yield replace(trace.numpy(guesses=False), rows_B=order_B)

    def lists_of(self, windows: Sequence[TokenWindow]) -> np.ndarray:
        """Number the lists by the tokens before the first separator; of a query that is cut, by
        those that no candidate takes from it."""
        separator = self.tokenizer.sep_token_id
        ends = [1 + int((each.ids == separator).argmax()) for each in windows]
        cut = [
            end - 1
            for each, end in zip(windows, ends, strict=True)
            if len(each.ids) == self.max_length < 2 * end
        ]
        most = min(cut, default=self.max_length)
        queries = [
            tuple(each.ids[: min(end, most)]) for each, end in zip(windows, ends, strict=True)
        ]
        numbers = {query: number for number, query in enumerate(dict.fromkeys(queries))}
        return np.array([numbers[query] for query in queries])
