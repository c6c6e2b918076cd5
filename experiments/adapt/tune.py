"""Tune a classifier by plain transformers, without this package, for `experiments.adapt`.

    python -m experiments.adapt.tune task=stsb body=FOLDER data=FOLDER to=FOLDER [steps=400]

It learns from half of the training texts. The others and those of validation are shuffled: two
thirds become `texts.parquet`, which `eat adapt` gets, and one third `fresh.parquet`, which nothing
sees. No label is written. probe: texts on which the head of a BERT learns first, with the layers as
they are (linear probing, then fine-tuning: Kumar et al. 2022). shape: of another family, small and
from random weights, with the tokenizer of `body`; what it shows is that such a shape is served.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import yaml
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

TASKS = yaml.safe_load(Path(__file__).with_name("tasks.yaml").read_text("utf-8"))
BATCH, RISE = 32, 0.1  # examples of a step; share of the steps in which the learning rate rises
PROBE_STEPS = 1500
SMALL = {"num_hidden_layers": 6, "hidden_size": 256, "num_attention_heads": 4}
SHAPES: dict[str, dict[str, Any]] = {  # as their papers have them, but for the sizes
    "distilbert": {"n_layers": 6, "dim": 256, "n_heads": 4, "hidden_dim": 1024},
    "modernbert": {**SMALL, "intermediate_size": 512},
    "deberta-v2": {
        **SMALL,
        "intermediate_size": 1024,
        "relative_attention": True,
        "pos_att_type": ["c2p", "p2c"],
        "position_buckets": 256,
        "norm_rel_ebd": "layer_norm",
        "share_att_key": True,
        "position_biased_input": False,
        "type_vocab_size": 0,
    },
}


def targets(rows: pd.DataFrame, task: dict[str, Any], num_labels: int) -> torch.Tensor:
    """Labels as transformers' losses take them."""
    if "tolerance" in task:
        return torch.tensor(rows["label"].to_numpy(), dtype=torch.float32)
    if "labels" in rows:
        made = torch.zeros(len(rows), num_labels)
        for row, numbers in enumerate(rows["labels"]):
            made[row, list(numbers)] = 1
        return made
    return torch.tensor(rows["label"].to_numpy())


def given_of(tokenizer: Any, rows: pd.DataFrame, task: dict[str, Any]) -> dict[str, torch.Tensor]:
    texts = [rows[column].tolist() for column in task["columns"]]
    how: dict[str, Any] = {"padding": True, "truncation": True, "max_length": task["length"]}
    return tokenizer(*texts, **how, return_tensors="pt")


def probe_head(model: Any, tokenizer: Any, train: pd.DataFrame, task: dict[str, Any]) -> None:
    """Train pooler and classifier of a BERT on its vectors of [CLS]."""
    parts = [train.iloc[i : i + BATCH] for i in range(0, len(train), BATCH)]
    with torch.inference_mode():
        hidden = [model.base_model(**given_of(tokenizer, rows, task))[0][:, :1] for rows in parts]
    first_N1D = torch.cat(hidden).clone()
    wanted = targets(train, task, model.num_labels)
    pooler, classifier = model.base_model.pooler, model.classifier
    parameters = [*pooler.parameters(), *classifier.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=1e-3, weight_decay=0.01)
    for step in range(PROBE_STEPS):
        rows = torch.randint(len(train), (128,))
        pooled = torch.nn.functional.dropout(pooler(first_N1D[rows]), 0.1)
        loss = loss_of(model, classifier(pooled), wanted[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 200 == 0:
            print(f"head, step {step} of {PROBE_STEPS}, loss {loss.item():.4f}", flush=True)


def loss_of(model: Any, logits: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """transformers' losses, by problem type."""
    from torch.nn import functional as F

    match model.config.problem_type:
        case "regression":
            return F.mse_loss(logits[:, 0], wanted)
        case "multi_label_classification":
            return F.binary_cross_entropy_with_logits(logits, wanted)
    return F.cross_entropy(logits, wanted)


def opened(body: str, shape: str, tokenizer: Any, about: dict[str, Any]) -> Any:
    """A model of pretrained weights, or of a shape. about: its classes."""
    if not shape:
        return AutoModelForSequenceClassification.from_pretrained(body, **about)
    first, last, pad = tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.pad_token_id
    ids = {"cls_token_id": first, "bos_token_id": first, "sep_token_id": last}
    ids |= {"eos_token_id": last, "pad_token_id": pad, "vocab_size": len(tokenizer)}
    config = AutoConfig.for_model(shape, **SHAPES[shape], **ids, **about)
    return AutoModelForSequenceClassification.from_config(config)


def tuned(
    train: pd.DataFrame,
    task: dict[str, Any],
    names: list[str],
    body: str,
    steps: int,
    probe: int = 0,
    shape: str = "",
) -> tuple[Any, Any]:
    """A model and its tokenizer. probe: texts on which the head alone learns first."""
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(body)
    problem = "multi_label_classification" if "labels" in train else "single_label_classification"
    about: dict[str, Any] = {
        "id2label": dict(enumerate(names)),
        "label2id": {name: number for number, name in enumerate(names)},
        "problem_type": "regression" if "tolerance" in task else problem,
    }
    model = opened(body, shape, tokenizer, about)
    if probe:
        probe_head(model.eval(), tokenizer, train.iloc[:probe], task)
    if not steps:
        return model.eval(), tokenizer
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=task["lr"], weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, task["lr"], steps, pct_start=RISE)
    random = np.random.default_rng(0)
    for step in range(steps):
        rows = train.iloc[random.choice(len(train), BATCH)]
        given = given_of(tokenizer, rows, task)
        with torch.autocast("cpu", torch.bfloat16):
            loss = model(**given, labels=targets(rows, task, len(names))).loss
        loss.backward()
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        if step % 50 == 0:
            print(f"step {step} of {steps}, loss {loss.item():.4f}", flush=True)
    return model.eval(), tokenizer


def main(
    task: str,
    body: str,
    data: str,
    to: str,
    steps: str = "400",
    probe: str = "0",
    shape: str = "",
    lr: str = "",
) -> None:
    settings = TASKS[task] | ({"lr": float(lr)} if lr else {})
    source = Path(data, settings.get("data", task))
    frames = [pd.read_parquet(source / f"{part}.parquet") for part in ("train", "validation")]
    order = np.random.default_rng(1).permutation(len(frames[0]))
    train, rest = frames[0].iloc[order[::2]], frames[0].iloc[order[1::2]]
    names = settings.get("names") or (source / "labels.txt").read_text("utf-8").split()
    model, tokenizer = tuned(train, settings, names, body, int(steps), int(probe), shape)
    others: Any = pd.concat([rest, frames[1]])[settings["columns"]].drop_duplicates()
    others = others.sample(frac=1, random_state=2)
    folder, ends = Path(to), 2 * len(others) // 3
    folder.mkdir(parents=True, exist_ok=True)
    others[:ends].to_parquet(folder / "texts.parquet", index=False)
    others[ends:].to_parquet(folder / "fresh.parquet", index=False)
    model.save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")


if __name__ == "__main__":
    main(**dict(word.split("=", 1) for word in sys.argv[1:]))
