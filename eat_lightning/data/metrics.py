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
    if task.num_labels == 2:
        kind = {"task": "binary"}
    made = nn.ModuleDict()
    with warnings.catch_warnings():  # that Spearman's keeps all predictions: a dev set is small
        warnings.simplefilter("ignore")
        for name in task.metrics:
            settings = {} if name in ("pearson", "spearman") else kind
            if name == "f1" and task.num_labels > 2:
                settings = kind | {"average": "macro"}
            made[name] = CLASSES[name](**settings, sync_on_compute=sync)
    return made
