"""Exits for a classifier that is tuned already: heads that learn its answers from one pass."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import seed_everything

from eat_lightning.methods.objective.self_distillation import SelfDistillation
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.runs.plan import HeadSettings
from eat_lightning.train.callbacks.progress import ProgressLines
from eat_lightning.train.callbacks.temperature import calibrate
from eat_lightning.train.kept_vectors import kept_vectors
from eat_lightning.train.one_pass import Fold, HeadTraining, VectorData, drawn, searched
from eat_lightning.train.processes import quiet
from eat_lightning.train.trainer import computes_bf16, trainer_arguments
from eat_lightning.weights.exits import EXITS, load_exits, save_exits


def learn_exits(
    encoder: AdaptiveEncoder,
    splits: dict[str, Any],
    plan: HeadSettings,
    work: Path,
    least_steps: int,
) -> None:
    """Train the early heads without labels, or read those that an earlier call has kept.

    Temperatures are fitted on *select*, to agreement with full depth.

    Args:
        splits: *learn* and *select*.
        work: a folder for vectors and heads.
        least_steps: of training; few texts are gone through more often for that.
    """
    if (work / EXITS / "config.json").is_file():
        load_exits(encoder, work)
        return
    quiet()
    seed_everything(0, verbose=False)
    precision = "bf16-mixed" if computes_bf16(gpu=False) else "32-true"
    learn = kept_vectors(encoder, drawn(splits["learn"], plan.texts), work, precision)
    select = kept_vectors(encoder, splits["select"], work, precision)
    settings = trainer_arguments({"accelerator": "cpu", "devices": 1, "precision": precision})
    least = math.ceil(least_steps * plan.batch_size / len(learn))
    plan = plan.model_copy(update={"epochs": [max(epochs, least) for epochs in plan.epochs]})
    vectors = VectorData(learn, select, plan.batch_size, seed=0)
    print(f"exits learn from the {len(learn):,} vectors", flush=True)
    training = HeadTraining(encoder, SelfDistillation(), plan, vectors, settings)
    trainer = training.trained(
        searched(plan, training.loss_of), callbacks=[Fold(), ProgressLines(scores=False)]
    )
    every = select[np.arange(len(select))]
    with torch.inference_mode():
        heads: Any = trainer.lightning_module
        guesses = heads.guesses(every.vectors_BEV)
    calibrate(encoder.eval(), guesses, encoder.kind.predictions(every.full_BC), bound=0.0)
    save_exits(encoder, work)
