"""The metrics that each GLUE task is judged by, from torchmetrics."""

from __future__ import annotations

import warnings
from typing import Any

import torchmetrics
from torch import nn

CLASSES = {
    "accuracy": torchmetrics.Accuracy,
    "f1": torchmetrics.F1Score,
    "matthews": torchmetrics.MatthewsCorrCoef,
    "pearson": torchmetrics.PearsonCorrCoef,
    "spearman": torchmetrics.SpearmanCorrCoef,
}


def metrics_for(task: Any, sync: bool = True) -> nn.ModuleDict:
    """One metric a name, updated with classes (or scores, for a regression) and labels.

    sync: over all processes, when there are several. F1 is of class 1 where there are two, else
    the mean of every class's (macro): over all together (micro) it would be accuracy.
    """
    kind: dict[str, Any] = {"task": "multiclass", "num_classes": task.num_labels}
    macro = {"average": "macro"} if task.num_labels > 2 else {}
    if task.num_labels == 2:
        kind = {"task": "binary"}
    others = {"f1": kind | macro, "pearson": {}, "spearman": {}}
    made = nn.ModuleDict()
    with warnings.catch_warnings():  # that Spearman's keeps all predictions: a dev set is small
        warnings.simplefilter("ignore")
        for name in task.metrics:
            made[name] = CLASSES[name](**others.get(name, kind), sync_on_compute=sync)
    return made
