"""Pooled vectors of every depth and the original's scores, from one pass, kept.

    python -m experiments.lists.vectors model=FOLDER data=FOLDER to=FOLDER

`F` (queries, candidates, depths, 2, D), float16: means of the query's and of the passage's tokens,
depth 0 being the embeddings; `score` (queries, candidates) of the last layer; `tokens` of each
pair. The pass computes in bf16.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from .data import CANDIDATES, Lists, deep_learning, qnli
from .tune import LENGTH, QUERIES

PAIRS = 100  # of a batch, of about the same length


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


def keep(model: Any, tokenizer: Any, lists: Lists, to: Path) -> None:
    began = time.time()
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
    np.savez(
        to,
        F=vectors.reshape(*shape, *size[1:]),
        score=score_P.reshape(shape),
        tokens=tokens_P.reshape(shape),
        prior=lists.prior_QN,
        grade=lists.grade_QN,
    )
    print(f"{to.stem}: {len(lists)} lists, {time.time() - began:.0f} s", flush=True)


def main(model: str, data: str, to: str, learn: str = "300", test: str = "300") -> None:
    torch.set_num_threads(1)
    tokenizer = AutoTokenizer.from_pretrained(model)
    opened = AutoModelForSequenceClassification.from_pretrained(model).eval()
    folder, out = Path(data), Path(to)
    out.mkdir(parents=True, exist_ok=True)
    unseen = qnli(folder, "train", 6000)
    rest = np.arange(QUERIES, len(unseen))
    keep(opened, tokenizer, unseen.part(rest[: int(learn)]), out / "learn.npz")
    keep(opened, tokenizer, unseen.part(rest[-100:]), out / "select.npz")
    keep(opened, tokenizer, qnli(folder, "validation", int(test)), out / "test.npz")
    keep(opened, tokenizer, deep_learning(folder, (2019, 2020)), out / "trec_learn.npz")
    keep(opened, tokenizer, deep_learning(folder, (2021,)), out / "trec_test.npz")


if __name__ == "__main__":
    main(**dict(word.split("=", 1) for word in sys.argv[1:]))
