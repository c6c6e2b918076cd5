"""Read queries with their candidates from a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from eat_lightning.data.text_files import json_lines
from eat_lightning.errors import ConfigError, one_line, reading
from eat_lightning.text_io import without_half_pairs

SUFFIXES = (".jsonl", ".parquet")


@dataclass(frozen=True)
class QueryList:
    """A query with its candidates, in the order of the first stage.

    Args:
        relevance: judgement of each candidate, above 0 for relevant ones; None without judgements.
    """

    query: str
    candidates: list[str]
    relevance: list[float] | None = None

    @classmethod
    def of(cls, row: Mapping[str, Any], number: int) -> QueryList:
        """Check a row of a file.

        Raises:
            ConfigError: in one line, for an invalid row.
        """
        query, candidates = row.get("query"), row.get("candidates")
        texts = [query, *candidates] if isinstance(candidates, list) else [None]
        if not all(isinstance(text, str) for text in texts):
            wanted = '{"query": text, "candidates": [text, ...]}'
            raise ConfigError(f"queries: list {number} must be {wanted}, got {one_line(row, 80)}")
        plain = [without_half_pairs(text) for text in texts if text is not None]
        return cls(plain[0], plain[1:], judged(row.get("relevance"), len(plain) - 1, number))


def judged(found: Any, num: int, number: int) -> list[float] | None:
    """Check judgements.

    Raises:
        ConfigError: where they are not one number per candidate.
    """
    if found is None:
        return None
    numbers = isinstance(found, list) and all(isinstance(x, int | float) for x in found)
    if not numbers or len(found) != num:
        raise ConfigError(
            f"queries: relevance of list {number} must be {num} numbers, one for each candidate"
        )
    return [float(x) for x in found]


def check_file(path: Path) -> None:
    """Raise ConfigError for a path that is not a file of a supported format."""
    if not path.is_file():
        raise ConfigError(f"queries={path}: there is no such file")
    if path.suffix not in SUFFIXES:
        raise ConfigError(f"queries={path}: must be a file of {' or '.join(SUFFIXES)}")


def read_query_lists(given: str | Sequence[Mapping[str, Any]]) -> list[QueryList]:
    """Read lists from a jsonl or parquet file with `query`, `candidates` and optionally
    `relevance`, or from dicts with these keys.

    Raises:
        ConfigError: in one line, for an unreadable file or an invalid list.
    """
    rows: Any = given
    if isinstance(given, str):
        path = Path(given)
        check_file(path)
        with reading(f"queries={given}", pa.ArrowException):
            is_parquet = path.suffix == ".parquet"
            rows = pq.read_table(path).to_pylist() if is_parquet else list(json_lines(path))
    return [
        QueryList.of(row if isinstance(row, Mapping) else {}, n) for n, row in enumerate(rows, 1)
    ]
