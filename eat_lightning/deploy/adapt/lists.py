"""Queries with their candidates, of which pairs are made.

Shapes: Q lists, B pairs of all lists.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from eat_lightning.data.query_lists import QueryList
from eat_lightning.data.unlabelled import Texts, counted, cut

COLUMNS = ["query", "candidate"]


@dataclass(frozen=True)
class QueryLists:
    """Distinct queries with the candidates of each, in a first stage's order.

    Args:
        line: for a person, how many lists were read, and how many left out for what.
    """

    queries: list[str]
    candidates: list[list[str]]
    line: str

    @classmethod
    def of(cls, found: Sequence[QueryList], keep: int) -> QueryLists:
        """Take the lists of which something can be left out.

        Args:
            keep: candidates that are returned of each; a list must have more.
        """
        long = [
            (each.query, each.candidates)
            for each in found
            if each.query.strip() and len(each.candidates) > keep
        ]
        distinct = dict(reversed(long))
        queries = list(dict.fromkeys(query for query, _ in long))
        lists = [distinct[query] for query in queries]
        few, doubled = len(found) - len(long), len(long) - len(queries)
        left_out = counted({"with too few candidates": few, "doubled": doubled})
        most = max(map(len, lists), default=0)
        line = f"{len(found):,} lists read{left_out}, of at most {most} candidates"
        return cls(queries, lists, line)

    def __len__(self) -> int:
        return len(self.queries)

    @property
    def texts(self) -> Texts:
        """All pairs, list after list."""
        lists = zip(self.queries, self.candidates, strict=True)
        rows = [(query, text) for query, texts in lists for text in texts]
        return Texts(rows, COLUMNS, self.line)

    @property
    def ends_Q(self) -> np.ndarray:
        """The place behind the last pair of each list."""
        return np.cumsum([len(texts) for texts in self.candidates])

    def parts(self, shares: Sequence[float]) -> dict[str, np.ndarray]:
        """Lists of each part. Queries that are nearly the same stand in one."""
        return cut([(query,) for query in self.queries], shares)

    def pairs_of(self, lists: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows of the pairs of some lists, and the number of each pair's list among them."""
        sizes = [len(self.candidates[row]) for row in lists]
        starts = self.ends_Q[lists] - sizes
        rows = [np.arange(start, start + size) for start, size in zip(starts, sizes, strict=True)]
        return np.concatenate(rows), np.repeat(np.arange(len(lists)), sizes)
