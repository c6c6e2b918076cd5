"""Passes in which every exit answers for every example, recorded for replays.

`record` runs an encoder over a split, `record_by` any function over one, and `record_of` takes the
trace of a batch that was run already.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from eat_lightning.data.batching import sorted_batches
from eat_lightning.model.contracts import ExitRule
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.packed import Batch
from eat_lightning.model.recorder import ALL_EXITS
from eat_lightning.model.trace import Trace
from eat_lightning.progress import shown
from eat_lightning.record.record import Record
from eat_lightning.record.windows import grouped, windows_of


def record(encoder: AdaptiveEncoder, split: Any, batch_size: int = 32, title: str = "") -> Record:
    """Run all examples of a split through all layers and heads, in evaluation mode, and return
    their record. Texts in windows have a row for each window."""

    def run(batch: Batch) -> Trace:
        return encoder(batch.to(encoder.strength.device), ALL_EXITS).numpy()

    known = {"policies": encoder.policies, "kind": encoder.kind}
    with inference(encoder):
        return record_by(run, encoder.exit, split, batch_size, title, **known)


def record_by(
    run: Callable[[Batch], Trace],
    exit: ExitRule,
    split: Any,
    batch_size: int,
    title: str,
    **known: Any,
) -> Record:
    """Run all rows of a split, and return their record.

    Args:
        run: returns the trace of a batch in which no example leaves early.
        exit: the rule whose signals the trace has.
        known: further fields of the record.
    """
    rows = windows_of(split)
    traces = [
        replace(run(rows.batch(rows_B)), rows_B=rows_B)
        for rows_B in shown(sorted_batches(rows.lengths, batch_size), title)
    ]
    return grouped(Record.of(Trace.together(traces), exit, rows, **known), split)


def record_of(encoder: AdaptiveEncoder, trace: Trace, batch: Batch | None = None) -> Record:
    """Return the record, without labels, of a batch that ran all layers.

    Args:
        batch: the batch, if replays are to ask the encoder's policies.
    """
    known: dict[str, Any] = {"kind": encoder.kind}
    if batch is not None:
        known |= {"policies": encoder.policies, "batch": lambda rows_B: batch}
    return Record.of(trace.numpy(), encoder.exit, **known)


@contextmanager
def inference(module: torch.nn.Module) -> Iterator[None]:
    """Set evaluation mode without gradients, and restore the mode at the end."""
    training = module.training
    module.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        module.train(training)


def score(task: Any, logits_BC: np.ndarray, labels_B: np.ndarray) -> dict[str, float]:
    """Return the task's metrics by name, each in its usual range."""
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
