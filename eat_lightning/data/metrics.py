"""The metrics that each GLUE task is judged by, from torchmetrics."""

from __future__ import annotations

import warnings
from typing import Any

from torch import nn
from torchmetrics import (
    Accuracy,
    F1Score,
    MatthewsCorrCoef,
    Metric,
    PearsonCorrCoef,
    SpearmanCorrCoef,
)


def metric_for(name: str, num_labels: int, sync: bool = True) -> Metric:
    if name == "pearson":
        return PearsonCorrCoef(sync_on_compute=sync)
    if name == "spearman":
        with warnings.catch_warnings():  # that it keeps all predictions: a dev set is small
            warnings.simplefilter("ignore")
            return SpearmanCorrCoef(sync_on_compute=sync)
    kind = "binary" if num_labels == 2 else "multiclass"
    settings: dict[str, Any] = {"task": kind, "sync_on_compute": sync} | (
        {} if num_labels == 2 else {"num_classes": num_labels}
    )
    if name == "accuracy":
        return Accuracy(**settings)
    if name == "f1":
        return F1Score(**settings)
    if name == "matthews":
        return MatthewsCorrCoef(**settings)
    raise ValueError(
        f"task.metrics must be among accuracy f1 matthews pearson spearman, got {name!r}"
    )


def metrics_for(task: Any, sync: bool = True) -> nn.ModuleDict:
    """One metric a name, updated with classes (or scores, for a regression) and labels.

    sync: over all processes, when there are several.
    """
    return nn.ModuleDict({name: metric_for(name, task.num_labels, sync) for name in task.metrics})
