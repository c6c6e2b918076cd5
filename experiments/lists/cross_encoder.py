"""A cross-encoder, tuned by plain transformers alone.

A step takes four queries with one good candidate and seven of the first stage's others,
and the loss is the softmax over each list of eight. With a teacher it is the divergence from the
teacher's softmax over the same list, so that a smaller model learns its order. Three steps of four
are QNLI's, one TREC Deep Learning's of 2019 and 2020. Nothing here sees QNLI's queries behind the
first 4,000.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from experiments.lists.data import Lists, deep_learning, qnli

LISTS, OTHERS, LENGTH, LEARNED = 4, 7, 160, 96
QUERIES = 4000


def drawn(lists: Lists, random: np.random.Generator) -> tuple[list[str], list[str]]:
    """Queries and passages of one step; the good one stands first in each list."""
    queries, passages = [], []
    while len(queries) < LISTS * (1 + OTHERS):
        row = random.integers(len(lists))
        grade_N = lists.grade_QN[row]
        good, bad = (
            np.flatnonzero(grade_N >= max(1, grade_N.max() - 1)),
            np.flatnonzero(grade_N < 1),
        )
        if not len(good) or len(bad) < OTHERS:
            continue
        some = [random.choice(good), *random.choice(bad, OTHERS, replace=False)]
        queries += [lists.queries_Q[row]] * len(some)
        passages += [lists.passages_QN[row][n] for n in some]
    return queries, passages


def opened(folder: str, layers: int | None = None) -> Any:
    """Open a cross-encoder, or make one of a backbone; of its first layers alone where asked."""
    given: dict[str, Any] = {} if layers is None else {"num_hidden_layers": layers}
    return AutoModelForSequenceClassification.from_pretrained(folder, num_labels=1, **given)


def scores_of(model: Any, given: Any) -> torch.Tensor:
    """Scores of each list's candidates (lists x candidates)."""
    with torch.autocast("cpu", torch.bfloat16):
        return model(**given).logits.float().reshape(LISTS, -1)


def tune(
    body: str,
    data: str,
    to: str,
    steps: int = 500,
    lr: float | str = 1e-4,
    layers: int | None = None,
    teacher: str | None = None,
) -> None:
    """Tune, and write the model and its tokenizer."""
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(body)
    model = opened(body, layers).train()
    taught_by = None if teacher is None else opened(teacher).eval()
    squad = qnli(Path(data), "train", 5000).part(np.arange(QUERIES))
    trec = deep_learning(Path(data), (2019, 2020))
    optimizer = torch.optim.AdamW(model.parameters(), lr=float(lr), weight_decay=0.01)
    plan = torch.optim.lr_scheduler.OneCycleLR(optimizer, float(lr), steps, pct_start=0.1)
    random = np.random.default_rng(0)
    how: dict[str, Any] = {"padding": True, "truncation": True, "max_length": LEARNED}
    for step in range(steps):
        texts = drawn(trec if step % 4 == 3 else squad, random)
        given = tokenizer(*texts, **how, return_tensors="pt")
        goal = torch.zeros(LISTS, dtype=torch.long)  # the good one stands first
        if taught_by is not None:
            with torch.no_grad():
                goal = scores_of(taught_by, given).softmax(1)
        loss = F.cross_entropy(scores_of(model, given), goal)
        loss.backward()
        optimizer.step()
        plan.step()
        optimizer.zero_grad()
        if step % 50 == 0:
            print(f"step {step} of {steps}, loss {loss.item():.4f}", flush=True)
    for made in (model, tokenizer):
        made.save_pretrained(to)
