"""One pass of an encoder that records every exit, so that any rule and operating point can be
judged from it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from eat_lightning.data.batching import sorted_batches
from eat_lightning.infer.recorded import Recorded
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.packed import Batch
from eat_lightning.model.recorder import ALL_EXITS
from eat_lightning.model.trace import Trace
from eat_lightning.progress import shown


def record(encoder: AdaptiveEncoder, split: Any, batch_size: int = 32, title: str = "") -> Recorded:
    """Run all examples of a split through all layers and heads, in evaluation mode."""
    last, device = encoder.shape.num_layers, encoder.strength.device
    layers = encoder.heads.layers
    guesses = {k: np.empty((len(split), encoder.kind.width), np.float32) for k in layers}
    signals: dict[int, np.ndarray] = {}
    tokens_LB = np.zeros((last, len(split)), np.int64)
    with inference(encoder):
        for rows_B in shown(sorted_batches(split.lengths, batch_size), title):
            trace: Trace = encoder(split.batch(rows_B).to(device), ALL_EXITS)
            for k in layers:
                guesses[k][rows_B] = trace.guesses[k].float().cpu().numpy()
            for k, signal_BS in trace.signals.items():
                size = len(split), signal_BS.shape[1]
                whole_BS = signals.setdefault(k, np.empty(size, np.float32))
                whole_BS[rows_B] = signal_BS.float().cpu().numpy()
            tokens_LB[:, rows_B] = trace.tokens_LB.numpy()
    known = {"policies": encoder.policies, "signals": signals, "kind": encoder.kind}
    return Recorded.of(split, guesses, tokens_LB, encoder.exit, **known)


def recorded_of(encoder: AdaptiveEncoder, trace: Trace, batch: Batch | None = None) -> Recorded:
    """A batch that ran all layers, as a record without labels. batch: where its policies are to be
    asked too."""

    def arrays(of: dict[int, Tensor]) -> dict[int, np.ndarray]:
        return {k: each.float().cpu().numpy() for k, each in of.items()}

    tokens_LB = trace.tokens_LB.numpy()
    return Recorded(
        np.zeros(tokens_LB.shape[1]),
        tokens_LB[0],
        arrays(trace.guesses),
        tokens_LB,
        encoder.exit,
        policies=() if batch is None else encoder.policies,
        signals=arrays(trace.signals),
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
