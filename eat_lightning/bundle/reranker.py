"""A cross-encoder that `rerank` wrote, opened as it was certified."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from eat_lightning.answer_kind import Score
from eat_lightning.bundle.adapted import AboutLists, AdaptedHome
from eat_lightning.bundle.kernels import encoder_of, in_kernels
from eat_lightning.bundle.plan import LISTS, is_of_lists
from eat_lightning.bundle.rerank import rerank
from eat_lightning.bundle.torch_backend import TorchBackend
from eat_lightning.data.tokens import tokenizer_for
from eat_lightning.errors import ConfigError
from eat_lightning.long_texts import CUT, AnswerRequest, TokenWindow
from eat_lightning.model.trace import Trace
from eat_lightning.record.lists import Counts
from eat_lightning.record.point import Point

COLUMNS = ["query", "candidate"]
SCORE_OF_LISTS = Score(tolerance=1.0)  # of no effect: orders are compared, no scores


@dataclass
class ListBackend(TorchBackend):
    """Answers pairs; those of one query in a batch are a list, whose candidates leave between
    layers. The certificate is for whole lists: of one that batches cut, each part is judged alone,
    and fewer candidates leave."""

    counts: Counts = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.exits = sorted({*self.counts, self.num_layers})

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


def open_lists(path: str | Path) -> ListBackend:
    """Open a cross-encoder as it was certified. ConfigError for a damaged folder."""
    folder = Path(path)
    if not is_of_lists(folder):
        raise ConfigError(f"run={folder}: has no {LISTS}, which `eat rerank` writes")
    about = AboutLists.read(folder)
    AdaptedHome(folder).certificate(about.point)
    return opened(folder, about.max_length, about.point, about.column)


def opened(
    folder: Path,
    max_length: int,
    point: Point,
    column: int | None = None,
) -> ListBackend:
    """Open a cross-encoder's folder, with exits or without."""
    tokenizer = tokenizer_for(str(folder))
    encoder = encoder_of(folder, SCORE_OF_LISTS, len(COLUMNS), tokenizer, column)
    given = tokenizer, COLUMNS, [], max_length
    kernels = in_kernels(encoder, point.dtype)
    backend = ListBackend(folder, kernels, *given, counts=point.counts or {})
    backend.read_long(CUT)
    return backend
