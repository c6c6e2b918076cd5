"""Texts for the golden tests: of the toy grammar's words, and real ones where they lie."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from helpers.classifiers import drawn_texts

REAL = 200


def lines() -> list[str]:
    """Short and long texts, empty ones, some with a source, and some that cannot be read."""
    texts = drawn_texts(70, seed=11)
    found = texts[:36] + [" ".join(texts[i : i + 9]) for i in range(36, 60, 4)]
    found += [json.dumps({"text": text, "source": "mail"}) for text in texts[60:64]]
    found += [json.dumps({"sentence": text, "mime": "text/html"}) for text in texts[64:67]]
    return [*found, "", "{broken", json.dumps({"words": "x"}), "A charming, funny film!"]


def pairs(num: int = 40) -> list[str]:
    texts = drawn_texts(2 * num, seed=12)
    return [f"{one}\t{other}" for one, other in zip(texts[::2], texts[1::2], strict=True)]


def long_texts(num: int = 24) -> list[str]:
    """Texts of 10 to 130 words."""
    words = " ".join(drawn_texts(200, seed=13)).split()
    return [" ".join(words[7 * i : 7 * i + 10 + 5 * i]) for i in range(num)]


def real(folder: Path) -> list[str]:
    """The first sentences of SST-2's validation split, as JSON lines."""
    table: Any = pq.read_table(folder / "sst2" / "validation.parquet", columns=["sentence"])
    return [json.dumps({"text": text}) for text in table["sentence"].to_pylist()[:REAL]]
