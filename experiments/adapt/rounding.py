"""What factors of inputs change in int8: answers of our kernels with them and without.

Shapes: N texts, C classes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from eat_lightning.bundle.kernels import in_kernels
from eat_lightning.bundle.original import Original
from eat_lightning.deploy.adapt.factors import NUM_TEXTS, learn_factors
from eat_lightning.long_texts import REFUSE
from eat_lightning.progress import shown
from eat_lightning.report.result import Result
from eat_lightning.runs.run import git_commit
from experiments.adapt.field import texts_of

COMPARED, BATCH = 4000, 32  # texts, and those of a batch


def rounding_row(base: Path, task: str, settings: dict[str, Any]) -> Result:
    """Count answers to `fresh.parquet` that int8 changes, before and after factors are learnt from
    `texts.parquet`."""
    original = Original.open(str(base / "model"), settings["length"], None, long=REFUSE)
    learn, fresh = (
        texts_of(base / f"{name}.parquet", settings["columns"], original, most)
        for name, most in (("texts", NUM_TEXTS), ("fresh", COMPARED))
    )
    encoder = original.encoder(len(settings["columns"]))
    exact_NC = logits_of(encoder, fresh, "fp32")
    without_NC = logits_of(in_kernels(encoder, "int8"), fresh, "int8")
    learn_factors(encoder, learn)
    with_NC = logits_of(in_kernels(encoder, "int8"), fresh, "int8 with factors")
    values: dict[str, Any] = {"num": len(fresh)}
    for name, logits_NC in (("without", without_NC), ("with", with_NC)):
        values[name] = int(original.same.changed(exact_NC, logits_NC).sum())
        values[f"error_{name}"] = error_of(exact_NC, logits_NC)
    model = f"{original.config['model_type']}, {original.num_layers} layers of {original.width}"
    return Result({"task": task, "model": model}, values, {"commit": git_commit()})


def error_of(exact_NC: np.ndarray, logits_NC: np.ndarray) -> float:
    """Return the error of logits beside their mean, as a share of the spread of the exact ones
    (both as roots of mean squares)."""
    exact_NC, found_NC = (x - x.mean(1, keepdims=True) for x in (exact_NC, logits_NC))
    return float(np.sqrt(((found_NC - exact_NC) ** 2).mean() / (exact_NC**2).mean()))


@torch.inference_mode()
def logits_of(encoder: Any, split: Any, title: str) -> np.ndarray:
    """Return the answers of all layers (N x C)."""
    batches = shown(range(0, len(split), BATCH), title)
    rows = (np.arange(start, min(start + BATCH, len(split))) for start in batches)
    return np.concatenate([encoder(split.batch(rows_B)).logits_BC.numpy() for rows_B in rows])
