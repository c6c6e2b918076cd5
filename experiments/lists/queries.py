"""Write lists for `eat adapt queries=` and `eat measure queries=`, which tuning has not seen.

    python -m experiments.lists.queries data=FOLDER to=FILE.jsonl [lists=800]
    python -m experiments.lists.queries data=FOLDER to=FILE.jsonl lists=90 skip=800 candidates=300
    python -m experiments.lists.queries data=FOLDER to=FILE.jsonl of=trec

QNLI's dev questions with BM25's best sentences of the same part, or TREC Deep Learning's queries of
2021 with BM25's best passages, and the judgements of both.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from experiments.lists.data import CANDIDATES, Lists, deep_learning, qnli


def lists_of(data: Path, of: str, lists: int, skip: int, candidates: int) -> Lists:
    """Lists of one kind. ValueError for another."""
    if of not in ("qnli", "trec"):
        raise ValueError(f"of={of} must be qnli or trec")
    if of == "trec":
        return deep_learning(data, (2021,))
    some = qnli(data, "validation", skip + lists, candidates)
    return some.part(np.arange(skip, len(some)))


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
