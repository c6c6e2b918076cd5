"""Queries with their candidates: read from a file, and made pairs of.

Shapes: Q lists, B pairs of all lists.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from eat_lightning.deploy.adapt.texts import Texts, cut, table_of
from eat_lightning.errors import ConfigError
from eat_lightning.weights.untrusted import one_line

COLUMNS = ["query", "candidate"]
SUFFIXES = (".jsonl", ".parquet")


@dataclass(frozen=True)
class QueryLists:
    """Distinct queries with the candidates of each, in a first stage's order.

    Args:
        num_read: lists of the file.
        num_short: lists with no more candidates than are kept, which are left out.
        num_doubled: lists whose query had come before.
    """

    queries: list[str]
    candidates: list[list[str]]
    num_read: int
    num_short: int
    num_doubled: int

    @classmethod
    def of(cls, found: Sequence[tuple[str, list[str]]], keep: int) -> QueryLists:
        long = [(query, texts) for query, texts in found if query.strip() and len(texts) > keep]
        distinct = dict(reversed(long))
        queries = list(dict.fromkeys(query for query, _ in long))
        lists = [distinct[query] for query in queries]
        return cls(queries, lists, len(found), len(found) - len(long), len(long) - len(queries))

    def __len__(self) -> int:
        return len(self.queries)

    @property
    def texts(self) -> Texts:
        """All pairs, list after list."""
        lists = zip(self.queries, self.candidates, strict=True)
        rows = [(query, text) for query, texts in lists for text in texts]
        return Texts(rows, COLUMNS, len(rows), 0, 0, 0)

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

    @property
    def line(self) -> str:
        """Counts in one line for a person."""
        left_out = {"with too few candidates": self.num_short, "doubled": self.num_doubled}
        parts = [f", {count:,} {what}" for what, count in left_out.items() if count]
        most = max(map(len, self.candidates), default=0)
        return f"{self.num_read:,} lists read{''.join(parts)}, of at most {most} candidates"


def read_lists(given: str | Sequence[Mapping[str, Any]], keep: int) -> QueryLists:
    """Read lists from a jsonl or parquet file with `query` and `candidates`, or from such dicts.

    ConfigError, in one line, for a file that cannot be read, and for what is no list.

    Args:
        keep: candidates that are returned of each; a list must have more.
    """
    if not isinstance(given, str):
        return QueryLists.of([checked(row, number) for number, row in enumerate(given, 1)], keep)
    path = Path(given)
    if not path.is_file() or path.suffix not in SUFFIXES:
        raise ConfigError(f"queries={given}: must be a file of {' or '.join(SUFFIXES)}")
    try:
        rows = table_of(path).to_pylist()
    except (pa.ArrowException, OSError, ValueError, AttributeError) as error:
        raise ConfigError(f"queries={given}: cannot be read ({one_line(error, 120)})") from None
    return QueryLists.of([checked(row, number) for number, row in enumerate(rows, 1)], keep)


def checked(row: Mapping[str, Any], number: int) -> tuple[str, list[str]]:
    """A query and its candidates. ConfigError for what is none."""
    query, candidates = row.get("query"), row.get("candidates")
    texts = [query, *candidates] if isinstance(candidates, list) else [None]
    if not all(isinstance(text, str) for text in texts):
        wanted = '{"query": text, "candidates": [text, ...]}'
        raise ConfigError(f"queries: list {number} must be {wanted}, got {one_line(row, 80)}")
    # JSON can spell half of a surrogate pair, which no tokenizer takes.
    plain = [text.encode("utf-8", "replace").decode() for text in texts if text is not None]
    return plain[0], plain[1:]
