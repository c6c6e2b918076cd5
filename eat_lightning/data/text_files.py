"""Read files of texts: tables (parquet, csv, JSON lines), and txt with one text per line."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from eat_lightning.errors import reading
from eat_lightning.text_io import split_texts, without_half_pairs

TABLES = (".parquet", ".csv", ".jsonl")
SUFFIXES = (".txt", ".csv", ".jsonl", ".parquet")


def opened(path: Path, texts: Sequence[str] | None = None) -> pq.ParquetFile:
    """Open a table of any supported format as parquet.

    Args:
        texts: columns of a csv file that hold texts; None: all.

    Raises:
        ValueError, ArrowException, OSError: where it cannot be read.
    """
    if path.suffix == ".parquet":
        return pq.ParquetFile(path)
    import pandas as pd

    if path.suffix == ".csv":  # an empty cell and the word NA are texts too
        types: Any = str if texts is None else dict.fromkeys(texts, str)
        frame = pd.read_csv(path, dtype=types, keep_default_na=False, low_memory=False)
    else:  # read_json would turn texts into dates
        frame = pd.DataFrame(list(json_lines(path)))
    made = io.BytesIO()
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), made)
    return pq.ParquetFile(made)


def json_lines(path: Path) -> Iterator[Any]:
    """Yield the values of a file's non-blank lines.

    Raises:
        ValueError: naming the damaged line.
    """
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, 1):
            try:
                if line.strip():
                    yield json.loads(line)
            except json.JSONDecodeError as error:
                raise ValueError(f"line {number}: {error.msg}") from None


def is_text(kind: pa.DataType) -> bool:
    return kind in (pa.string(), pa.large_string(), pa.string_view())


def read_texts(
    path: Path, columns: Sequence[str] | None, key: str
) -> tuple[list[tuple[str, ...]], list[str]]:
    """Read a tuple of texts for each row of a file, and the names of their columns.

    Args:
        columns: that hold the texts; None: "text", or the only text column.
        key: the setting that names the file, for error messages.

    Raises:
        ConfigError: in one line, where it cannot be read.
    """
    with reading(f"{key}={path}", pa.ArrowException):
        if path.suffix == ".txt":
            names = list(columns or ["text"])
            return list(texts_of_lines(path, len(names))), names
        table = opened(path).read()
        names = list(columns or [text_column(table)])
        found = [texts_in(table, name) for name in names]
    return list(zip(*found, strict=True)), names


def texts_of_lines(path: Path, num: int) -> Iterator[tuple[str, ...]]:
    """Yield a text for each line, or two separated by a tab.

    Raises:
        ValueError: naming the line with another number of texts.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ValueError(f"line {line} is not UTF-8") from None
    for number, line in enumerate(lines, 1):
        try:
            yield tuple(split_texts(line, num)) if line.strip() else ("",) * num
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from None


def text_column(table: pa.Table) -> str:
    texts = [field.name for field in table.schema if is_text(field.type)]
    if "text" in texts or len(texts) == 1:
        return "text" if "text" in texts else texts[0]
    raise ValueError(f"name the column of texts by columns=[...], among {', '.join(texts[:10])}")


def texts_in(table: pa.Table, name: str) -> list[str]:
    if name not in table.column_names:
        has = ", ".join(table.column_names[:10])
        raise ValueError(f"no column {name}, only {has}: columns=[...] names it")
    if not is_text(kind := table.schema.field(name).type):
        raise ValueError(f"column {name} must hold text, got {kind}")
    return [without_half_pairs(text or "") for text in table[name].to_pylist()]
