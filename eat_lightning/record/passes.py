"""One pass of an encoder that records every exit, so that any rule and operating point can be
judged from it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from eat_lightning.data.batching import sorted_batches
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.packed import Batch
from eat_lightning.model.recorder import ALL_EXITS
from eat_lightning.model.trace import Trace
from eat_lightning.progress import shown
from eat_lightning.record.record import Record
from eat_lightning.record.windows import grouped, windows_of


def record(encoder: AdaptiveEncoder, split: Any, batch_size: int = 32, title: str = "") -> Record:
    """Run all examples of a split through all layers and heads, in evaluation mode. Texts in
    windows are recorded by window."""
    rows, device = windows_of(split), encoder.strength.device
    size = len(rows), encoder.kind.width
    guesses = {k: np.empty(size, np.float32) for k in encoder.heads.layers}
    signals: dict[int, np.ndarray] = {}
    tokens_LB = np.zeros((encoder.shape.num_layers, len(rows)), np.int64)
    with inference(encoder):
        for rows_B in shown(sorted_batches(rows.lengths, batch_size), title):
            trace = encoder(rows.batch(rows_B).to(device), ALL_EXITS).numpy()
            scatter(trace.guesses, guesses, rows_B, len(rows))
            scatter(trace.signals, signals, rows_B, len(rows))
            tokens_LB[:, rows_B] = trace.tokens_LB
    known = {"policies": encoder.policies, "signals": signals, "kind": encoder.kind}
    return grouped(Record.of(rows, guesses, tokens_LB, encoder.exit, **known), split)


def scatter(
    values: dict[int, np.ndarray], whole: dict[int, np.ndarray], rows_B: np.ndarray, size: int
) -> None:
    """Put values of some rows, by layer, into arrays of all rows."""
    for layer, x_BC in values.items():
        if layer not in whole:
            whole[layer] = np.empty((size, x_BC.shape[1]), np.float32)
        whole[layer][rows_B] = x_BC


def recorded_of(encoder: AdaptiveEncoder, trace: Trace, batch: Batch | None = None) -> Record:
    """A batch that ran all layers, as a record without labels. batch: where its policies are to be
    asked too."""
    said = trace.numpy()
    return Record(
        np.zeros(len(said)),
        said.tokens_LB[0],
        said.guesses,
        said.tokens_LB,
        encoder.exit,
        policies=() if batch is None else encoder.policies,
        signals=said.signals,
        batch=None if batch is None else lambda rows_B: batch,
        kind=encoder.kind,
    )


@contextmanager
def inference(module: torch.nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; the mode is put back."""
    training = module.training
    module.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        module.train(training)


def score(task: Any, logits_BC: np.ndarray, labels_B: np.ndarray) -> dict[str, float]:
    """The task's metrics, each in its usual range (0 ... 1, correlations -1 ... 1)."""
    from eat_lightning.data.metrics import metrics_for  # brings torchmetrics, slowly

    logits, labels = torch.as_tensor(logits_BC), torch.as_tensor(labels_B)
    predictions = task.kind.predictions(logits)
    scores = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torchmetrics on a constant, which is dealt with below
        for name, metric in metrics_for(task, sync=False).items():
            metric.update(predictions, labels)  # type: ignore[operator]
            value = float(metric.compute())  # type: ignore[operator]
            scores[name] = 0.0 if np.isnan(value) else value  # a constant correlates with nothing
    return scores
