"""Exits for a classifier that is tuned already: heads that learn its answers from one pass."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import seed_everything
from safetensors.torch import load_file

from eat_lightning.methods.objective.self_distillation import SelfDistillation
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.train.callbacks.temperature import calibrate
from eat_lightning.train.kept_vectors import early_layers, kept_vectors
from eat_lightning.train.one_pass import Fold, HeadTraining, VectorData, searched
from eat_lightning.train.plan import OnePassSettings
from eat_lightning.train.trainer import computes_bf16, trainer_arguments
from eat_lightning.weights.files import save_weights


def early_head_weights(encoder: AdaptiveEncoder) -> dict[str, torch.Tensor]:
    """The weights of all heads but the last, by the encoder's names."""
    early = tuple(f"heads.{layer}." for layer in early_layers(encoder))
    return {name: w for name, w in encoder.state_dict().items() if name.startswith(early)}


def learn_exits(
    encoder: AdaptiveEncoder, splits: dict[str, Any], plan: OnePassSettings, work: Path
) -> None:
    """Train the early heads without labels, or read those that an earlier call has kept.

    Temperatures are fitted on *select*, to agreement with full depth.

    Args:
        splits: *learn* and *select*.
        work: a folder for vectors and heads.
    """
    path = work / "heads" / "model.safetensors"
    if path.is_file():
        encoder.load_state_dict(load_file(path), strict=False)
        return
    seed_everything(0, verbose=False)
    precision = "bf16-mixed" if computes_bf16(gpu=False) else "32-true"
    learn = kept_vectors(encoder, splits["learn"], work, precision)
    select = kept_vectors(encoder, splits["select"], work, precision)
    settings = trainer_arguments({"accelerator": "cpu", "devices": 1, "precision": precision})
    vectors = VectorData(learn, select, plan.batch_size, seed=0)
    training = HeadTraining(encoder, SelfDistillation(), plan, vectors, settings)
    trainer = training.trained(searched(plan, training.loss_of), callbacks=[Fold()])
    every = select[np.arange(len(select))]
    with torch.inference_mode():
        heads: Any = trainer.lightning_module
        guesses = heads.guesses(every.vectors_BEV)
    calibrate(encoder.eval(), guesses, every.full_BC.argmax(-1), bound=0.0)
    save_weights(early_head_weights(encoder), path.parent)
