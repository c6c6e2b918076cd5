"""Teacher logits: computed once per drawn example, cached, and matched by label name."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from eat_lightning.answer_kind import kind_of, misfit
from eat_lightning.data.module import TextData
from eat_lightning.data.split import make_split
from eat_lightning.data.task import Task
from eat_lightning.data.tokens import tokenizer_for
from eat_lightning.errors import ConfigError, Faults
from eat_lightning.files import replacing, sha256_of
from eat_lightning.methods.attention.dense import Dense
from eat_lightning.methods.exit.never import Never
from eat_lightning.methods.reduction.none import Keep
from eat_lightning.model.contracts import Objective, overrides
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.record.passes import record
from eat_lightning.runs.run import Run
from eat_lightning.train.kept_vectors import read_mapped
from eat_lightning.untrusted import json_of
from eat_lightning.weights.checkpoint import load_model, load_pretrained
from eat_lightning.weights.files import (
    model_files,
    own_config,
    read_weights,
    weights_digest,
)
from eat_lightning.weights.untrusted import read_config


def teacher_folder(path: str) -> tuple[Path, dict[str, Any]]:
    """Return the folder of the weights, and its config."""
    folder = Path(path)
    if (folder / "config.yaml").is_file():
        folder = Run.open(folder).folder / "model"
    return folder, read_config(folder)


def labels_of(config: dict[str, Any]) -> list[str]:
    names = config.get("id2label") or {}
    sound = isinstance(names, dict)
    labels: list[Any] = [names.get(str(i)) for i in range(len(names))] if sound else [None]
    if not all(isinstance(label, str) for label in labels):
        raise ConfigError(
            f"teacher: id2label must name each class by its number, got {names!r:.60}"
        )
    return labels


def open_teacher(path: str) -> tuple[AdaptiveEncoder, list[str], Path]:
    """Open a finished run, its model folder, or a Hugging Face classifier folder. Returns the
    encoder, its labels and the folder.
    """
    folder, config = teacher_folder(path)
    if config["model_type"] == "eat":
        return *load_model(folder), folder
    labels = labels_of(config)
    if not any(name.startswith("classifier.") for name in read_weights(folder, old=True)):
        raise ConfigError(f"teacher={path} has no classifier: fine-tune it first")
    head = {"layers": [], "activation": "auto"}
    encoder = load_pretrained(str(folder), len(labels), Dense(), Keep(), Never(), head)
    return encoder.eval(), labels, folder


def teacher_in_step(path: str, objective: Objective, data: TextData) -> AdaptiveEncoder:
    """Open a teacher that runs beside its student for its hidden states, without token pruning,
    since dropped tokens have no states to learn from.

    Raises:
        ConfigError: where both do not share a vocabulary, or the teacher does not fit the
            objective.
    """
    encoder, labels, folder = open_teacher(path)
    faults = Faults()
    if tokenizer_for(str(folder)).get_vocab() != data.tokenizer.get_vocab():  # type: ignore[attr-defined]
        faults.append(
            f"teacher={path} has another vocabulary than the student: hidden states are compared "
            "token by token, so give a student of the same tokenizer"
        )
    order = label_order(labels, data.task.labels)
    if overrides(objective, Objective.lessons) and order != sorted(order):
        faults.append(
            f"teacher={path} has the task's labels in another order: give a run of this task"
        )
    unfit = objective.fits_attention(encoder.attention)
    faults += [f"teacher={path}: {fault}" for fault in unfit]
    faults.check()
    return encoder.replacing(reduction=Keep()).requires_grad_(False)


def label_order(teacher: list[str], task: list[str]) -> list[int]:
    """Return the teacher's logit column for each label of the task, matched by name.

    MNLI teachers order their labels differently; matching by index would ruin a student without an
    error. A regression has one column.
    """
    if not task:
        return [0]
    given = [name.lower() for name in teacher]
    wanted = [name.lower() for name in task]
    if sorted(given) != sorted(wanted):
        raise ConfigError(
            f"teacher's labels {', '.join(teacher)} are not the task's {', '.join(task)}: name "
            "them alike (id2label in the teacher's config.json)"
        )
    return [given.index(name) for name in wanted]


def teacher_faults(path: str, task: Task) -> list[str]:
    """List errors of a teacher from its config.json, such as labels that differ from the task's."""
    faults = Faults()
    with faults.gathered():
        config = teacher_folder(path)[1]
        labels = labels_of(config)
        label_order(labels, task.labels)
        if (kind := kind_of(config, len(labels))).problem_type != task.kind.problem_type:
            faults.append(f"teacher={path} {misfit([kind.problem_type], task.kind)}")
    return faults


def attach_teacher(
    data: TextData, path: str, rows: np.ndarray | None = None, precision: str = "32-true"
) -> bool:
    """Set `teacher` on the training split of `data`. Returns False where logits came from the
    cache.

    Args:
        rows: examples to compute logits for, since a short run does not draw all; nan elsewhere.
            None: all of them.
        precision: as in Trainer; bf16 takes half the time.
    """
    encoder, labels, folder = open_teacher(path)
    task = data.task
    order = label_order(labels, task.labels)
    tokenizer = tokenizer_for(str(folder))
    limit = min(data.max_length, encoder.shape.max_length)
    split = make_split("train", data.split("train").source, tokenizer, limit, data.cache_dir)
    rows = np.arange(len(split)) if rows is None else rows
    own = own_config(folder)
    weights = weights_digest(folder) if own is None else sha256_of(model_files(folder))
    about = json_of(folder / "config.json") if own is None else own
    of = json.dumps([weights, about, split.key, precision])
    cache = data.cache_dir / f"teacher-{hashlib.sha256(of.encode()).hexdigest()[:24]}.npy"
    known = read_cache(cache, len(split), encoder.num_labels)
    lacking = rows[np.isnan(known[rows, 0])]
    if len(lacking):
        # Every layer is run, and the split's own order kept.
        with torch.autocast("cpu", torch.bfloat16, enabled=precision.startswith("bf16")):
            recorded = record(encoder, split.take(lacking), 64, "what the teacher says")
        known[lacking] = recorded.guesses[encoder.shape.num_layers][:, : encoder.num_labels]
        with replacing(cache) as beside, beside.open("wb") as file:
            np.save(file, known)
    whole = np.full_like(known, np.nan)
    whole[rows] = known[rows][:, order]
    data.split("train").teacher = whole
    return len(lacking) == len(rows)


def read_cache(path: Path, num_examples: int, num_labels: int) -> np.ndarray:
    """Read cached logits, with nan for examples that are not computed yet. Without a file, or if it
    is damaged, these are all examples.
    """
    # Mapped, so that a header is not believed about a size that the file has not.
    found = read_mapped(path, (num_examples, num_labels), np.float32)
    if found is None:
        return np.full((num_examples, num_labels), np.nan, np.float32)
    return np.where(np.isfinite(found).all(1, keepdims=True), found, np.nan)
