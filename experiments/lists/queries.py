"""Write lists for `eat adapt queries=` and `eat measure queries=`, which tuning has not seen.

    python -m experiments.lists.queries data=FOLDER to=FILE.jsonl [lists=800]
    python -m experiments.lists.queries data=FOLDER to=FILE.jsonl lists=90 skip=800 candidates=300
    python -m experiments.lists.queries data=FOLDER to=FILE.jsonl of=trec
    python -m experiments.lists.queries data=FOLDER to=FILE.jsonl of=labels [lists=800]

QNLI's dev questions with BM25's best sentences of the same part; TREC Deep Learning's queries of
2021 with BM25's best passages; or GoEmotions' texts with all its labels, for a zero-shot
classifier. Judgements stand beside.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from experiments.lists.data import CANDIDATES, Lists, deep_learning, qnli

TEMPLATE = "This example is about {}."


def lists_of(data: Path, of: str, lists: int, skip: int, candidates: int) -> Lists:
    """Lists of one kind. ValueError for another."""
    if of not in ("qnli", "trec", "labels"):
        raise ValueError(f"of={of} must be qnli, trec or labels")
    if of == "trec":
        return deep_learning(data, (2021,))
    if of == "labels":
        return emotions(data, lists, skip)
    some = qnli(data, "validation", skip + lists, candidates)
    return some.part(np.arange(skip, len(some)))


def emotions(data: Path, lists: int, skip: int) -> Lists:
    """GoEmotions' texts of validation, with the 28 labels in a sentence each."""
    names = (data / "goemotions" / "labels.txt").read_text("utf-8").split()
    rows: Any = pd.read_parquet(data / "goemotions" / "validation.parquet")
    some = rows.drop_duplicates("text").sample(skip + lists, random_state=1)[skip:]
    grade_QN = np.array([[n in labels for n in range(len(names))] for labels in some["labels"]])
    sentences = [TEMPLATE.format(name) for name in names]
    prior_QN = np.zeros(grade_QN.shape)
    return Lists(some["text"].tolist(), [sentences] * len(some), prior_QN, grade_QN.astype(int))


def main(
    data: str,
    to: str,
    of: str = "qnli",
    lists: str = "800",
    skip: str = "0",
    candidates: str = str(CANDIDATES),
) -> None:
    some = lists_of(Path(data), of, int(lists), int(skip), int(candidates))
    rows = zip(some.queries_Q, some.passages_QN, some.grade_QN.tolist(), strict=True)
    lines = [
        json.dumps({"query": query, "candidates": texts, "relevance": grades})
        for query, texts, grades in rows
    ]
    Path(to).write_text("\n".join(lines) + "\n", "utf-8")


if __name__ == "__main__":
    main(**dict(word.split("=", 1) for word in sys.argv[1:]))
