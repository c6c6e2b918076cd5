"""Tune a classifier by plain transformers, without this package, for `experiments.adapt.run`.

    python -m experiments.adapt.tune tune task=stsb body=FOLDER data=FOLDER to=FOLDER [steps=400]
    python -m experiments.adapt.tune tune task=sst2 ... steps=900 lora=8 lr=3e-4
    python -m experiments.adapt.tune merge delta=FILE body=FOLDER data=FOLDER to=FOLDER

It learns from half of the training texts. The others and those of validation are shuffled: two
thirds become `texts.parquet`, which `eat adapt` gets, and one third `fresh.parquet`, which nothing
sees. No label is written. lora: the rank of updates beside the weights, which alone learn and are
kept as a small file, from which `merge` makes the classifier again. A training that was killed
resumes with the same command. probe: texts on which the head
of a BERT learns first, with the layers as they are (linear probing, then fine-tuning: Kumar et al.
2022). shape: of another family, small and from random weights, with the tokenizer of `body`; what
it shows is that such a shape is served.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch.nn import functional as F
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

from eat_lightning.errors import ConfigError, reported
from experiments.adapt import low_rank
from experiments.study import run_step

USUAL, TEXT = {"length": 128, "lr": 5e-5}, {"columns": ["text"]}
# names: of the classes, else in the data's labels.txt. tolerance: of a score.
TASKS: dict[str, dict[str, Any]] = {
    "sst2": {**USUAL, "columns": ["sentence"], "names": ["negative", "positive"]},
    "qqp": {**USUAL, "columns": ["question1", "question2"], "names": ["different", "same"]},
    "mnli": {
        **USUAL,
        "columns": ["premise", "hypothesis"],
        "names": ["entailment", "neutral", "contradiction"],
    },
    "mails": {
        "data": "email_phish_spam",
        "columns": ["subject", "text"],
        "names": ["ham", "phishing"],
        "length": 256,
        "lr": 5e-5,
    },
    "messages": {**USUAL, **TEXT, "data": "sms_spam", "names": ["ham", "spam"]},
    "banking77": {**TEXT, "length": 64, "lr": 1e-4},
    "goemotions": {**TEXT, "length": 64, "lr": 3e-4},
    "stsb": {
        "columns": ["sentence1", "sentence2"],
        "names": ["similarity"],
        "tolerance": 0.5,
        "length": 64,
        "lr": 1e-4,
    },
}
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


@dataclass
class Examples:
    """Labelled texts of a task.

    Args:
        settings: of `TASKS`.
        names: of the classes.
    """

    rows: pd.DataFrame
    settings: dict[str, Any]
    names: list[str]

    @property
    def problem(self) -> str:
        """As transformers calls it."""
        kind = "multi_label" if "labels" in self.rows else "single_label"
        return "regression" if "tolerance" in self.settings else f"{kind}_classification"

    @property
    def about(self) -> dict[str, Any]:
        """What a model's settings say of its classes."""
        numbered = dict(enumerate(self.names))
        label2id = {name: number for number, name in numbered.items()}
        return {"id2label": numbered, "label2id": label2id, "problem_type": self.problem}

    def take(self, rows: Any) -> Examples:
        return Examples(self.rows.iloc[rows], self.settings, self.names)

    def given(self, tokenizer: Any) -> dict[str, torch.Tensor]:
        texts = [self.rows[column].tolist() for column in self.settings["columns"]]
        how = {"padding": True, "truncation": True, "max_length": self.settings["length"]}
        return tokenizer(*texts, **how, return_tensors="pt")

    @property
    def targets(self) -> torch.Tensor:
        """Labels as transformers' losses take them."""
        if self.problem == "multi_label_classification":
            made = torch.zeros(len(self.rows), len(self.names))
            for row, numbers in enumerate(self.rows["labels"]):
                made[row, list(numbers)] = 1
            return made
        dtype = torch.float32 if self.problem == "regression" else torch.int64
        return torch.tensor(self.rows["label"].to_numpy(), dtype=dtype)


def loss_of(logits: torch.Tensor, examples: Examples) -> torch.Tensor:
    """transformers' losses, by problem type."""
    match examples.problem:
        case "regression":
            return F.mse_loss(logits[:, 0], examples.targets)
        case "multi_label_classification":
            return F.binary_cross_entropy_with_logits(logits, examples.targets)
    return F.cross_entropy(logits, examples.targets)


def probe_head(model: Any, tokenizer: Any, train: Examples) -> None:
    """Train pooler and classifier of a BERT on its vectors of [CLS]."""
    starts = range(0, len(train.rows), BATCH)
    parts = [train.take(slice(start, start + BATCH)).given(tokenizer) for start in starts]
    with torch.inference_mode():
        hidden = [model.base_model(**given)[0][:, :1] for given in parts]
    first_N1D = torch.cat(hidden).clone()
    pooler, classifier = model.base_model.pooler, model.classifier
    parameters = [*pooler.parameters(), *classifier.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=1e-3, weight_decay=0.01)
    for _ in range(PROBE_STEPS):
        rows = torch.randint(len(train.rows), (128,))
        pooled = F.dropout(pooler(first_N1D[rows]), 0.1)
        loss_of(classifier(pooled), train.take(rows)).backward()
        optimizer.step()
        optimizer.zero_grad()


def opened(body: str, shape: str, tokenizer: Any, about: dict[str, Any]) -> Any:
    """A model of pretrained weights, or of a shape. about: its classes."""
    if not shape:
        return AutoModelForSequenceClassification.from_pretrained(body, **about)
    first, last, pad = tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.pad_token_id
    ids = {"cls_token_id": first, "bos_token_id": first, "sep_token_id": last}
    ids |= {"eos_token_id": last, "pad_token_id": pad, "vocab_size": len(tokenizer)}
    config = AutoConfig.for_model(shape, **SHAPES[shape], **ids, **about)
    return AutoModelForSequenceClassification.from_config(config)


def learned(model: Any, tokenizer: Any, train: Examples, steps: int, kept: Path) -> Any:
    """The model after so many steps of the parameters that are to be learned.

    Args:
        kept: file in which the state is kept every 50 steps; a killed training resumes from it.
    """
    model.train()
    parameters = [each for each in model.parameters() if each.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=train.settings["lr"], weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, train.settings["lr"], max(steps, 1), pct_start=RISE
    )
    done = 0
    if kept.is_file():
        begun, done, values, *states = torch.load(kept)
        if begun != [train.settings["lr"], steps, len(parameters)]:
            raise ConfigError(f"{kept} is of another training: remove it")
        for parameter, value in zip(parameters, values, strict=True):
            parameter.data.copy_(value)
        optimizer.load_state_dict(states[0])
        schedule.load_state_dict(states[1])
    for step in range(done, steps):
        random = np.random.default_rng((0, step))
        some = train.take(random.choice(len(train.rows), BATCH))
        with torch.autocast("cpu", torch.bfloat16):
            loss = model(**some.given(tokenizer), labels=some.targets).loss
        loss.backward()
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        if step % 50 == 49:
            print(f"step {step + 1} of {steps}, loss {loss.item():.4f}", flush=True)
            values = [each.detach() for each in parameters]
            kept.parent.mkdir(parents=True, exist_ok=True)
            beside = kept.with_suffix(".part")
            begun = [train.settings["lr"], steps, len(parameters)]
            torch.save(
                (begun, step + 1, values, optimizer.state_dict(), schedule.state_dict()), beside
            )
            beside.replace(kept)
    kept.unlink(missing_ok=True)
    return model.eval()


def read(task: str, data: str) -> tuple[Examples, Examples, pd.DataFrame]:
    """What a classifier learns from, validation, and the texts for `eat adapt`, without labels."""
    settings = TASKS[task]
    source = Path(data, settings.get("data", task))
    train, validation = (pd.read_parquet(source / f"{k}.parquet") for k in ("train", "validation"))
    order = np.random.default_rng(1).permutation(len(train))
    rest: Any = pd.concat([train.iloc[order[1::2]], validation])
    others = rest[settings["columns"]].drop_duplicates().sample(frac=1, random_state=2)
    names = settings.get("names") or (source / "labels.txt").read_text("utf-8").split()
    half, known = train.iloc[order[::2]], (settings, names)
    return Examples(half, *known), Examples(validation, *known), others


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
    lr: float | str = 0.0,
    lora: int = 0,
) -> None:
    """Tune all weights, or (lora) updates beside them, which are kept and merged."""
    torch.manual_seed(0)
    kept = Path(to, "training.pt")
    train, _, others = read(task, data)
    train.settings = train.settings | ({"lr": float(lr)} if lr else {})
    tokenizer = AutoTokenizer.from_pretrained(body)
    if lora:
        model, new = low_rank.opened(body, train.about)
        low_rank.attach(model, new, lora)
        learned(model, tokenizer, train, steps, kept)
        about = {"task": task, "body": Path(body).name, "rank": lora, "steps": steps}
        path, about = Path(to, "delta.safetensors"), about | {"lr": train.settings["lr"]}
        low_rank.save(model, path, {name: str(value) for name, value in about.items()})
        merge(str(path), body, data, to)
        return
    model = opened(body, shape, tokenizer, train.about)
    if probe:
        probe_head(model.eval(), tokenizer, train.take(slice(probe)))
    write(learned(model, tokenizer, train, steps, kept), tokenizer, others, Path(to))


def merge(delta: str, body: str, data: str, to: str) -> None:
    """Write the classifier that a delta makes of its backbone, and its texts."""
    train, _, others = read(low_rank.about_of(Path(delta))["task"], data)
    model = low_rank.merged(body, Path(delta), train.about)
    write(model, AutoTokenizer.from_pretrained(body), others, Path(to))


def num_right(folder: Path, examples: Examples) -> int:
    """How many examples the largest logit of a folder's model answers as they are labelled."""
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer, found = AutoTokenizer.from_pretrained(folder), 0
    with torch.inference_mode():
        for start in range(0, len(examples.rows), BATCH):
            some = examples.take(slice(start, start + BATCH))
            answers = model(**some.given(tokenizer)).logits.argmax(-1)
            found += int((answers == some.targets).sum())
    return found


if __name__ == "__main__":
    with reported():
        torch.set_num_threads(1)
        run_step(sys.argv[1:], tune, merge)
