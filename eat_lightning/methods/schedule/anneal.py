"""The schedule: how strongly a reduction acts as training goes on (EAT, algorithm 2)."""

from __future__ import annotations

from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer

from eat_lightning.bounds import number_faults, raise_faults


def strength_at(epoch: float, start: float, end: float) -> float:
    """0 up to `start`, linear to 1 at `end`, in epochs (fractions count)."""
    if epoch >= end:
        return 1.0
    return max(0.0, (epoch - start) / (end - start))


class Anneal(Callback):
    """Sets the encoder's `strength` before every step, and logs it with the observed retention.

    `start`, `end`: epochs. Where a run is cut to fewer steps, epochs shrink with it.
    """

    def __init__(self, start: float = 1.0, end: float = 3.0):
        raise_faults(self.faults(None, start=start, end=end))
        self.start, self.end = start, end

    @classmethod
    def faults(cls, num_layers: int | None, start: float = 1.0, end: float = 3.0) -> list[str]:
        faults = [
            *number_faults("schedule.start", [start], "[0, inf)"),
            *number_faults("schedule.end", [end], "[0, inf)"),
        ]
        if not faults and end < start:
            faults.append(f"schedule.end must be at least schedule.start={start}, got {end}")
        return faults

    def reached(self, trainer: Trainer) -> bool:
        """Whether the strength that the schedule ends with is in force."""
        last = strength_at(float(trainer.max_epochs or 1), self.start, self.end)
        return strength_at(self.epoch(trainer), self.start, self.end) >= last

    @staticmethod
    def epoch(trainer: Trainer) -> float:
        """Epochs done, as a fraction of all steps, so that a cut run sees its whole schedule."""
        total = trainer.estimated_stepping_batches
        return trainer.global_step / total * (trainer.max_epochs or 1)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        # The step under way counts, so that the last one trains at what the schedule ends with.
        total = trainer.estimated_stepping_batches
        epoch = (trainer.global_step + 1) / total * (trainer.max_epochs or 1)
        strength = strength_at(epoch, self.start, self.end)
        encoder: Any = pl_module.encoder
        encoder.strength.fill_(strength)
        pl_module.log("train/strength", strength)


def scheduled_retention(encoder: Any) -> float:
    """The product of (1 - ratio x strength) over the layers that reduce: the paper's 0.49, which
    ceil() and short texts keep from being reached."""
    ratio = getattr(encoder.reduction, "ratio", 0.0)
    layers = encoder.reduction.layers
    ratios = ratio if isinstance(ratio, list | tuple) else [ratio] * len(layers)
    strength = float(encoder.strength)
    return float(torch.prod(1 - torch.tensor([r * strength for r in ratios], dtype=torch.float64)))
