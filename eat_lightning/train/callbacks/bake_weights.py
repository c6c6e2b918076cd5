"""At the end of training, replace weights by their effective values under gates or masks."""

from __future__ import annotations

from typing import Any

import torch
from lightning import Callback, Trainer

from eat_lightning.model.contracts import Objective
from eat_lightning.model.encoder import AdaptiveEncoder


class BakeWeights(Callback):
    """Writes an objective's effective weights into the encoder and prints the objective's
    `summary`. The saved model then no longer needs the objective.
    """

    def on_train_end(self, trainer: Trainer, pl_module: Any) -> None:
        objective, encoder = pl_module.objective, pl_module.encoder
        if trainer.interrupted:
            return
        bake_weights(objective, encoder)
        for line in objective.summary(encoder) if trainer.is_global_zero else ():
            print(line)


def bake_weights(objective: Objective, encoder: AdaptiveEncoder) -> None:
    """Write an objective's effective weights at inference into the encoder."""
    training, parameters = encoder.training, dict(encoder.named_parameters())
    with torch.no_grad():
        for name, weight in objective.effective_weights(encoder.eval()).items():
            parameters[name].copy_(weight)
    encoder.train(training)
