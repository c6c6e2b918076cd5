"""Tune a classifier by plain transformers, without this package, for `experiments.adapt`.

    python -m experiments.adapt.tune task=stsb body=FOLDER data=FOLDER to=FOLDER [steps=400]
    python -m experiments.adapt.tune task=sst2 ... steps=900 lora=8 lr=3e-4
    python -m experiments.adapt.tune merge delta=FILE body=FOLDER data=FOLDER to=FOLDER

It learns from half of the training texts. The others and those of validation are shuffled: two
thirds become `texts.parquet`, which `eat adapt` gets, and one third `fresh.parquet`, which nothing
sees. No label is written. probe: texts on which the head of a BERT learns first, with the layers as
they are (linear probing, then fine-tuning: Kumar et al. 2022). shape: of another family, small and
from random weights, with the tokenizer of `body`; what it shows is that such a shape is served.
lora: the rank of updates beside the weights, which alone learn and are kept as a small file, from
which `merge` makes the classifier again.
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

from eat_lightning.errors import reported
from eat_lightning.report.result import Result
from eat_lightning.runs.run import git_commit
from experiments.adapt import low_rank
from experiments.study import given_of as given_of_words

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


def about_of(train: pd.DataFrame, task: dict[str, Any], names: list[str]) -> dict[str, Any]:
    """What transformers' settings of a model say of its classes."""
    problem = "multi_label_classification" if "labels" in train else "single_label_classification"
    return {
        "id2label": dict(enumerate(names)),
        "label2id": {name: number for number, name in enumerate(names)},
        "problem_type": "regression" if "tolerance" in task else problem,
    }


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
    model = opened(body, shape, tokenizer, about_of(train, task, names))
    if probe:
        probe_head(model.eval(), tokenizer, train.iloc[:probe], task)
    return learned(model, tokenizer, train, task, steps), tokenizer


def learned(
    model: Any, tokenizer: Any, train: pd.DataFrame, task: dict[str, Any], steps: int
) -> Any:
    """The model after `steps` of its parameters that are to be learned; none where steps is 0."""
    if not steps:
        return model.eval()
    model.train()
    parameters = [each for each in model.parameters() if each.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=task["lr"], weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, task["lr"], steps, pct_start=RISE)
    random = np.random.default_rng(0)
    for step in range(steps):
        rows = train.iloc[random.choice(len(train), BATCH)]
        given = given_of(tokenizer, rows, task)
        with torch.autocast("cpu", torch.bfloat16):
            loss = model(**given, labels=targets(rows, task, model.num_labels)).loss
        loss.backward()
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        if step % 50 == 0:
            print(f"step {step} of {steps}, loss {loss.item():.4f}", flush=True)
    return model.eval()


def right(model: Any, tokenizer: Any, rows: pd.DataFrame, task: dict[str, Any]) -> int:
    """How many examples the model's largest logit answers as they are labelled."""
    rows = rows.sort_values(task["columns"][0], key=lambda column: column.str.len())
    found = 0
    with torch.inference_mode():
        for start in range(0, len(rows), BATCH):
            part = rows.iloc[start : start + BATCH]
            logits = model(**given_of(tokenizer, part, task)).logits
            found += int((logits.argmax(-1).numpy() == part["label"].to_numpy()).sum())
    return found


def frames_of(task: str, data: str) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """The texts that a classifier learns from, those of validation, and those of nothing yet."""
    source = Path(data, TASKS[task].get("data", task))
    train, validation = (
        pd.read_parquet(source / f"{part}.parquet") for part in ("train", "validation")
    )
    order = np.random.default_rng(1).permutation(len(train))
    rest: Any = pd.concat([train.iloc[order[1::2]], validation])
    others = rest[TASKS[task]["columns"]].drop_duplicates().sample(frac=1, random_state=2)
    return train.iloc[order[::2]], validation, others


def names_of(task: str, data: str) -> list[str]:
    """Names of the classes."""
    settings = TASKS[task]
    path = Path(data, settings.get("data", task), "labels.txt")
    return settings.get("names") or path.read_text("utf-8").split()


def write(model: Any, tokenizer: Any, others: pd.DataFrame, folder: Path) -> None:
    """Write the folders and files that `experiments.adapt.run` reads."""
    folder.mkdir(parents=True, exist_ok=True)
    ends = 2 * len(others) // 3
    others[:ends].to_parquet(folder / "texts.parquet", index=False)
    others[ends:].to_parquet(folder / "fresh.parquet", index=False)
    model.save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")


def tune(
    task: str,
    body: str,
    data: str,
    to: str,
    steps: int = 400,
    probe: int = 0,
    shape: str = "",
    lr: float | str = 0.0,  # YAML reads 3e-4 as text
    lora: int = 0,
) -> None:
    """Tune all weights, or (lora: their rank) the updates beside them."""
    settings = TASKS[task] | ({"lr": float(lr)} if lr else {})
    train, _, others = frames_of(task, data)
    names = names_of(task, data)
    if lora:
        tune_delta(task, body, data, to, steps, settings, lora)
        return
    model, tokenizer = tuned(train, settings, names, body, steps, probe, shape)
    write(model, tokenizer, others, Path(to))


def tune_delta(
    task: str, body: str, data: str, to: str, steps: int, settings: dict[str, Any], rank: int
) -> None:
    """Tune low-rank updates, keep them as `to`/delta.safetensors, and merge them as that file."""
    torch.manual_seed(0)
    train, _, _ = frames_of(task, data)
    tokenizer = AutoTokenizer.from_pretrained(body)
    model, new = low_rank.opened(body, about_of(train, settings, names_of(task, data)))
    low_rank.attach(model, new, rank)
    learned(model, tokenizer, train, settings, steps)
    path = Path(to, "delta.safetensors")
    about = {"task": task, "body": Path(body).name, "rank": rank, "steps": steps}
    about |= {"lr": settings["lr"], "examples a step": BATCH}
    low_rank.save(model, path, {name: str(value) for name, value in about.items()})
    merge(str(path), body, data, to)


def merge(delta: str, body: str, data: str, to: str) -> None:
    """Write the classifier that a delta makes of its backbone, and its texts."""
    task = low_rank.about_of(Path(delta))["task"]
    train, _, others = frames_of(task, data)
    model = low_rank.merged(body, Path(delta), about_of(train, TASKS[task], names_of(task, data)))
    write(model, AutoTokenizer.from_pretrained(body), others, Path(to))


def original_result(folder: str, data: str) -> Result:
    """How often a classifier that was made of a delta is right on validation."""
    path, model_folder = Path(folder, "delta.safetensors"), Path(folder, "model")
    about = low_rank.about_of(path)
    model = AutoModelForSequenceClassification.from_pretrained(model_folder).eval()
    _, validation, _ = frames_of(task := about["task"], data)
    config = model.config
    values = {
        "right": right(model, AutoTokenizer.from_pretrained(model_folder), validation, TASKS[task]),
        "num": len(validation),
        "mb": path.stat().st_size / 1e6,
    }
    model = f"{config.model_type}, {config.num_hidden_layers} layers of {config.hidden_size}"
    given = {name: yaml.safe_load(value) for name, value in about.items() if name != "task"}
    return Result({"task": task, "model": model}, values, given | {"commit": git_commit()})


def main(*words: str) -> None:
    torch.set_num_threads(1)
    if words[:1] == ("merge",):
        merge(**given_of_words(words[1:], [], ("delta", "body", "data", "to")))
        return
    keys = ("steps", "probe", "shape", "lr", "lora")
    tune(**given_of_words(words, keys, ("task", "body", "data", "to")))


if __name__ == "__main__":
    with reported():
        main(*sys.argv[1:])
