"""Unlabelled texts: read, cleaned, and split into parts that share no near-duplicates.

Shapes: N texts, G groups of near-duplicates.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np

from eat_lightning.data import text_files
from eat_lightning.data.calibration import components
from eat_lightning.data.text_files import SUFFIXES
from eat_lightning.errors import ConfigError, one_line
from eat_lightning.long_texts import Reader

LARGE = 0.01  # of all texts: a larger group of near-duplicates is for learning alone
BANDS, ROWS = 8, 8  # of MinHash: 97 % of pairs alike to 0.9 share a band, 3 % of those to 0.5
PRIME = (1 << 31) - 1

Row = tuple[str, ...]


@dataclass(frozen=True)
class Texts:
    """Distinct texts, as tuples of one or two.

    Args:
        columns: names of the texts in a row.
        line: message with the number of rows read, and of those left out by reason.
    """

    rows: list[Row]
    columns: list[str]
    line: str

    @classmethod
    def of(cls, found: Sequence[Row], columns: list[str], most: int) -> Texts:
        """Drop empty and duplicate texts, and keep a random sample of at most `most`."""
        whole = [row for row in found if all(map(str.strip, row))]
        distinct = list(dict.fromkeys(whole))
        taken = distinct
        if len(distinct) > most:
            order = np.random.default_rng(0).permutation(len(distinct))[:most]
            taken = [distinct[i] for i in np.sort(order)]
        empty, doubled = len(found) - len(whole), len(whole) - len(distinct)
        left_out = {"empty": empty, "doubled": doubled, "not used": len(distinct) - len(taken)}
        return cls(taken, columns, f"{len(found):,} rows read{counted(left_out)}")

    def __len__(self) -> int:
        return len(self.rows)

    def named(self, row: Row) -> dict[str, str]:
        """Return the texts of a row by column name."""
        return dict(zip(self.columns, row, strict=True))

    def read_by(self, reader: Reader) -> Texts:
        """Keep the texts that a model does not reject for their length."""
        read = reader([list(row) for row in self.rows])
        rows = [row for row, text in zip(self.rows, read, strict=True) if not text.refused]
        left_out = {"too long (long=cut takes the first, long=windows all)": len(read) - len(rows)}
        return replace(self, rows=rows, line=self.line + counted(left_out))

    def without_near_doubles(self) -> Texts:
        """Keep one random text of each group of near-duplicates."""
        if not self.rows:
            return self
        _, one_of_G = drawn(near_doubles(self.rows))
        rows = [self.rows[row] for row in np.sort(one_of_G)]
        left_out = {"near-duplicates left out": len(self) - len(rows)}
        return replace(self, rows=rows, line=self.line + counted(left_out))


def counted(left_out: Mapping[str, int]) -> str:
    """Format the counts of rows left out, by reason."""
    return "".join(f", {count:,} {what}" for what, count in left_out.items() if count)


def read_texts(given: str | Sequence[Any], columns: list[str] | None, most: int) -> Texts:
    """Read texts from a file, a folder of files, or a list.

    Args:
        given: a path; or texts, or pairs of them.
        columns: names of the text columns; None: "text", or the only text column.
        most: maximum number of texts.

    Raises:
        ConfigError: in one line, for a missing or unreadable file or a missing column.
    """
    if not isinstance(given, str | Path):
        rows = [row_of(row, number) for number, row in enumerate(given)]
        if len({len(row) for row in rows}) > 1:
            raise ConfigError("texts must be all single texts, or all pairs")
        return Texts.of(rows, columns or usual_columns(given), most)
    found: list[Row] = []
    files = files_of(Path(given))
    if (num := sum(path.suffix == ".txt" for path in files)) > 1:
        print(
            f"note: each line of {num:,} txt files is read as one text; give texts with several "
            "lines as jsonl, csv or parquet"
        )
    for path in files:
        rows, columns = text_files.read_texts(path, columns, "texts")
        found += rows
    return Texts.of(found, columns or ["text"], most)


def usual_columns(examples: Sequence[Any]) -> list[str]:
    """Return the names of the columns of texts, or of pairs of them."""
    of_pairs = bool(examples) and not isinstance(examples[0], str)
    return ["text", "text_pair"] if of_pairs else ["text"]


def row_of(given: Any, number: int) -> Row:
    """Check a text or a pair of texts. Raises ConfigError for anything else."""
    row = (given,) if isinstance(given, str) else given
    if not (isinstance(row, tuple | list) and all(isinstance(text, str) for text in row)):
        raise ConfigError(f"texts[{number}] must be a text or a pair, got {one_line(given, 40)}")
    return tuple(row)


def files_of(path: Path) -> list[Path]:
    """List a file, or the files of supported formats in a folder."""
    known = ", ".join(SUFFIXES)
    if path.is_dir():
        inside = sorted(p for p in path.rglob("*") if p.suffix in SUFFIXES and p.is_file())
        if not inside:
            raise ConfigError(
                f"texts={path}: the folder has no file of {known}: write a jsonl file with a text "
                "in each line"
            )
        return inside
    if not path.is_file():
        raise ConfigError(f"texts={path}: there is no such file or folder")
    if path.suffix not in SUFFIXES:
        raise ConfigError(f"texts={path}: must be a file of {known}, or a folder of such")
    return [path]


def cut(rows: Sequence[Row], shares: Sequence[float], seed: int = 0) -> dict[str, np.ndarray]:
    """Return the rows of each part.

    Near-duplicates share a part; every part but *learn* keeps one of each group, so that the
    examples of a certificate are independent draws.
    """
    group_N = near_doubles(rows)
    size_G = np.bincount(group_N)
    first_G, one_of_G = drawn(group_N, seed)
    large_G = size_G > max(LARGE * len(rows), 2)
    order_G = np.argsort(first_G)
    small = [group for group in order_G if not large_G[group]]
    ends = np.cumsum([shares[2], shares[1]]) * len(small)
    certify, select, rest = np.split(small, ends.round().astype(int))
    learn_G = np.concatenate([rest, np.flatnonzero(large_G)]).astype(int)
    return {
        "learn": np.flatnonzero(np.isin(group_N, learn_G)),
        "select": np.sort(one_of_G[select.astype(int)]),
        "certify": np.sort(one_of_G[certify.astype(int)]),
    }


def drawn(group_N: np.ndarray, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Put texts in random order. Returns the position of each group's first text, and its row."""
    order_N = np.random.default_rng(seed).permutation(len(group_N))
    _, first_G = np.unique(group_N[order_N], return_index=True)
    return first_G, order_N[first_G]


def near_doubles(rows: Sequence[Row]) -> np.ndarray:
    """Return a group number for each text (N); texts that share nearly all word bigrams share one.

    Uses MinHash (Broder 1997) with banding: texts that agree in any band share a group, and so do
    chains of them. Case, digits and punctuation are ignored.
    """
    random = np.random.default_rng(0)
    factor, offset = random.integers(1, PRIME, (2, BANDS * ROWS), dtype=np.int64)
    least_NH = np.stack(
        [((factor * shingles(row)[:, None] + offset) % PRIME).min(0) for row in rows]
    )
    bands = [least_NH[:, i : i + ROWS] for i in range(0, BANDS * ROWS, ROWS)]
    keys = [np.unique(band, axis=0, return_inverse=True)[1].ravel() for band in bands]
    ends = np.cumsum([0, *(key.max() + 1 for key in keys)])
    text_M = np.tile(np.arange(len(rows)), BANDS)
    band_M = np.concatenate([key + end for key, end in zip(keys, ends, strict=False)]) + len(rows)
    component = components(text_M, band_M, len(rows) + int(ends[-1]))[: len(rows)]
    return np.unique(component, return_inverse=True)[1]


def shingles(row: Row) -> np.ndarray:
    """Return hashes of a row's word bigrams, at least one."""
    words = re.findall(r"[^\W\d_]+", " \n ".join(row).lower()) or list(row)
    pairs = [" ".join(words[i : i + 2]) for i in range(max(1, len(words) - 1))]
    return np.array([crc32(pair.encode()) % PRIME for pair in pairs], np.int64)
