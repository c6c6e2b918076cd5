"""When training ends: weights become what the objective had them act as (gates, masks)."""

from __future__ import annotations

from typing import Any

import torch
from lightning import Callback, Trainer


class Settle(Callback):
    """Writes what an objective has `shaped` into the encoder, so that what is saved needs no
    objective, and prints its `summary`."""

    def on_train_end(self, trainer: Trainer, pl_module: Any) -> None:
        objective, encoder = pl_module.objective, pl_module.encoder
        if trainer.interrupted:
            return
        if hasattr(objective, "shaped"):
            settle(objective, encoder)
        if trainer.is_global_zero and hasattr(objective, "summary"):
            print("\n".join(objective.summary(encoder)))


def settle(objective: Any, encoder: Any) -> None:
    """Copy what acts outside training over the encoder's own weights."""
    training, own = encoder.training, dict(encoder.named_parameters())
    with torch.no_grad():
        for name, weight in objective.shaped(encoder.eval()).items():
            own[name].copy_(weight)
    encoder.train(training)
