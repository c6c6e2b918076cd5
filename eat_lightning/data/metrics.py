"""Metrics of the tasks, from torchmetrics."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torchmetrics
from torch import nn
from torchmetrics.classification import MultilabelExactMatch, MultilabelF1Score

from eat_lightning.answer_kind import AnswerKind


def classes(kind: AnswerKind) -> dict[str, Any]:
    if kind.num_labels == 2:
        return {"task": "binary"}
    return {"task": "multiclass", "num_classes": kind.num_labels}


def f1(kind: AnswerKind, **sync: Any) -> Any:
    """F1 of class 1 for binary tasks, else macro F1, since micro F1 would equal accuracy."""
    macro = {"average": "macro"} if kind.num_labels > 2 else {}
    return torchmetrics.F1Score(**classes(kind), **macro, **sync)


MAKERS: dict[str, Callable[..., Any]] = {
    "accuracy": lambda kind, **sync: torchmetrics.Accuracy(**classes(kind), **sync),
    "f1": f1,
    "matthews": lambda kind, **sync: torchmetrics.MatthewsCorrCoef(**classes(kind), **sync),
    # Of all labels together; the mean of each label's; the share of whole sets.
    "f1_micro": lambda kind, **sync: MultilabelF1Score(kind.num_labels, average="micro", **sync),
    "f1_macro": lambda kind, **sync: MultilabelF1Score(kind.num_labels, average="macro", **sync),
    "exact_match": lambda kind, **sync: MultilabelExactMatch(kind.num_labels, **sync),
    "pearson": lambda kind, **sync: torchmetrics.PearsonCorrCoef(**sync),
    "spearman": lambda kind, **sync: torchmetrics.SpearmanCorrCoef(**sync),
}


def metrics_for(task: Any, sync: bool = True) -> nn.ModuleDict:
    """Return a metric for each name, to be updated with the kind's `predictions` and labels.

    Args:
        sync: compute over all processes, if there are several.
    """
    with warnings.catch_warnings():  # that Spearman's keeps all predictions: a dev set is small
        warnings.simplefilter("ignore")
        made = {name: MAKERS[name](task.kind, sync_on_compute=sync) for name in task.metrics}
    return nn.ModuleDict(made)
