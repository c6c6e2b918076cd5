"""Keep the best weights on a part of the calibration split; the dev set is never used."""

from __future__ import annotations

import math
from typing import Any

import torch
from lightning import Callback, Trainer


class SelectBest(Callback):
    """Keeps the weights with the best validation score in the schedule's last stage at final
    strength.

    Earlier weights were trained with less pruning than the model will be used with.
    """

    def __init__(self) -> None:
        self.best: dict[str, Any] | None = None

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best = state_dict["best"]

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, *_: Any) -> None:
        # Lightning validates before it stops so, but not where max_steps ends it within an epoch.
        if trainer.global_step >= trainer.estimated_stepping_batches:
            trainer.should_stop = True

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        if trainer.sanity_checking or not pl_module.timeline.reached(trainer.global_step):
            return
        score = float(trainer.callback_metrics["select/score"])
        score = -math.inf if math.isnan(score) else score  # a constant correlates with nothing
        if self.best is None or score > self.best["score"]:
            weights = {n: w.detach().clone() for n, w in pl_module.state_dict().items()}
            self.best = {"score": score, "step": trainer.global_step, "weights": weights}

    def on_train_end(self, trainer: Trainer, pl_module: Any) -> None:
        if self.best is not None:
            with torch.no_grad():
                pl_module.load_state_dict(self.best["weights"])
