"""Queries with a first stage's 100 candidates, from QNLI and TREC Deep Learning."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse

from eat_lightning.files import write_text

CANDIDATES = 100
K1, B = 0.9, 0.4  # of BM25, as Anserini sets them
WORD = re.compile(r"[a-z0-9]+")


@dataclass(frozen=True)
class Lists:
    """Lists of candidates, each in the first stage's order.

    `queries_Q`; `passages_QN`; `prior_QN` the first stage's scores; `grade_QN` judgements, 0 where
    nobody judged.
    """

    queries_Q: list[str]
    passages_QN: list[list[str]]
    prior_QN: np.ndarray
    grade_QN: np.ndarray

    def __len__(self) -> int:
        return len(self.queries_Q)

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """A query with each of its passages, list after list."""
        lists = zip(self.queries_Q, self.passages_QN, strict=True)
        return [(query, passage) for query, passages in lists for passage in passages]

    def write(self, path: Path) -> None:
        """Write the lists as `eat rerank` reads them."""
        rows = zip(self.queries_Q, self.passages_QN, self.grade_QN.tolist(), strict=True)
        lines = (
            json.dumps({"query": query, "candidates": texts, "relevance": grades}) + "\n"
            for query, texts, grades in rows
        )
        write_text(path, "".join(lines))

    def part(self, rows: np.ndarray) -> Lists:
        """Some of the lists."""
        queries = [self.queries_Q[row] for row in rows]
        passages = [self.passages_QN[row] for row in rows]
        return Lists(queries, passages, self.prior_QN[rows], self.grade_QN[rows])


class BM25:
    """Okapi BM25 over a pool of texts (Robertson & Zaragoza 2009, equation 3.15)."""

    def __init__(self, texts: list[str]) -> None:
        counts = [Counter(WORD.findall(text.lower())) for text in texts]
        self.words = {word: n for n, word in enumerate(sorted({w for c in counts for w in c}))}
        length_N = np.array([sum(c.values()) for c in counts])
        norm_N = K1 * (1 - B + B * length_N / length_N.mean())
        rows, columns, values = [], [], []
        for row, count in enumerate(counts):
            for word, times in count.items():
                rows.append(row)
                columns.append(self.words[word])
                values.append(times / (times + norm_N[row]))
        shape = (len(texts), len(self.words))
        weight_NW: Any = scipy.sparse.csc_matrix((values, (rows, columns)), shape)
        having_W = np.diff(weight_NW.indptr)
        rare_W = np.log(1 + (len(texts) - having_W + 0.5) / (having_W + 0.5))
        self.weight_NW = (weight_NW @ scipy.sparse.diags(rare_W)).tocsr()

    def scores(self, query: str) -> np.ndarray:
        """Scores of all texts for a query."""
        known = [self.words[word] for word in WORD.findall(query.lower()) if word in self.words]
        asked_W = np.bincount(known, minlength=len(self.words))
        return self.weight_NW @ asked_W


def qnli(folder: Path, part: str, most: int, candidates: int = CANDIDATES) -> Lists:
    """Questions of QNLI that have an answer, with BM25's best sentences of the part's pool."""
    rows: Any = pd.read_parquet(folder / "qnli" / f"{part}.parquet")
    pool = sorted(set(rows["sentence"]))
    number, bm25 = {text: n for n, text in enumerate(pool)}, BM25(pool)
    answered = rows[rows["label"] == 0].drop_duplicates("question")
    some = answered.sample(min(most, len(answered)), random_state=1)
    queries, passages, priors, grades = [], [], [], []
    for question, answer in zip(some["question"], some["sentence"], strict=True):
        scores = bm25.scores(question)
        best = np.argsort(-scores, kind="stable")[:candidates]
        queries.append(question)
        passages.append([pool[n] for n in best])
        priors.append(scores[best])
        grades.append(best == number[answer])
    return Lists(queries, passages, np.array(priors), np.array(grades, dtype=int))


def deep_learning(folder: Path, years: tuple[int, ...]) -> Lists:
    """TREC Deep Learning's queries of some years with BM25's best 100 passages."""
    rows: Any = pd.read_parquet(folder / "lists" / "dl_bm25.parquet")
    lists = [r for _, r in rows[rows["year"].isin(years)].groupby(["year", "qid"], sort=True)]
    full = [r.sort_values("rank") for r in lists if len(r) == CANDIDATES]
    return Lists(
        [r["query"].iloc[0] for r in full],
        [r["passage"].tolist() for r in full],
        np.array([r["prior"].to_numpy() for r in full]),
        np.array([r["grade"].fillna(0).to_numpy(int) for r in full]),
    )
