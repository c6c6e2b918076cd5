"""A cross-encoder, tuned by plain transformers alone, and one pass of it whose vectors are kept.

A step of tuning takes four queries with one good candidate and seven of the first stage's others,
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

from experiments.lists.data import CANDIDATES, Lists, deep_learning, qnli

LISTS, OTHERS, LENGTH, LEARNED = 4, 7, 160, 96
QUERIES = 4000
PAIRS = 100  # of a batch, of about the same length


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
    given = {} if layers is None else {"num_hidden_layers": layers}
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


def means(hidden_BSD: torch.Tensor, mask_BS: torch.Tensor) -> torch.Tensor:
    weight_BS1 = mask_BS[:, :, None].float()
    return (hidden_BSD.float() * weight_BS1).sum(1) / weight_BS1.sum(1).clamp(min=1)


def passed(model: Any, given: Any, special: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Vectors (pairs, depths, 2, D) and scores of one batch."""
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        found = model(**given, output_hidden_states=True)
    plain = ~torch.isin(given["input_ids"], torch.tensor(special)) & (given["attention_mask"] == 1)
    texts = [plain & (given["token_type_ids"] == text) for text in (0, 1)]
    depths = [torch.stack([means(h, t) for t in texts], 1) for h in found.hidden_states[:-1]]
    return torch.stack(depths, 1), found.logits[:, 0].float()


def keep_vectors(model: Any, tokenizer: Any, lists: Lists, to: Path) -> None:
    """Write one pass in bf16 as `ways.KeptLists` reads it.

    `F` (queries, candidates, depths, 2, D), float16: means of the query's and of the passage's
    tokens, depth 0 being the embeddings; `score` of the last layer; `tokens` of each pair.
    """
    queries = [query for query in lists.queries_Q for _ in range(CANDIDATES)]
    passages = [passage for some in lists.passages_QN for passage in some]
    given = tokenizer(queries, passages, truncation=True, max_length=LENGTH)
    tokens_P = np.array([len(ids) for ids in given["input_ids"]])
    config = model.config
    size = (len(queries), config.num_hidden_layers, 2, config.hidden_size)
    vectors, score_P = np.zeros(size, np.float16), np.zeros(len(queries), np.float32)
    order = np.argsort(tokens_P, kind="stable")
    for start in range(0, len(order), PAIRS):
        rows = order[start : start + PAIRS]
        some = {name: [values[row] for row in rows] for name, values in given.items()}
        batch = tokenizer.pad(some, return_tensors="pt")
        found, scores = passed(model, batch, tokenizer.all_special_ids)
        vectors[rows], score_P[rows] = found.numpy(), scores.numpy()
    shape = (len(lists), CANDIDATES)
    arrays = {"F": vectors.reshape(*shape, *size[1:]), "score": score_P.reshape(shape)}
    arrays |= {"tokens": tokens_P.reshape(shape)}
    np.savez(to, **arrays, prior=lists.prior_QN, grade=lists.grade_QN)


def vectors(model: str, data: str, to: str, learn: int = 160, test: int = 200) -> None:
    """Keep vectors of lists to learn on, to choose on and to judge on, of QNLI and of TREC."""
    tokenizer, made = AutoTokenizer.from_pretrained(model), opened(model).eval()
    folder, out = Path(data), Path(to)
    out.mkdir(parents=True, exist_ok=True)
    unseen = qnli(folder, "train", 6000)
    rest = np.arange(QUERIES, len(unseen))
    parts = {
        "learn": unseen.part(rest[:learn]),
        "select": unseen.part(rest[-100:]),
        "test": qnli(folder, "validation", test),
        "trec_learn": deep_learning(folder, (2019, 2020)),
        "trec_test": deep_learning(folder, (2021,)),
    }
    for name, lists in parts.items():
        keep_vectors(made, tokenizer, lists, out / f"{name}.npz")
