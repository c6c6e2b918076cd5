"""Save last.ckpt atomically every few steps, so that a killed run resumes to the same weights."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from lightning import Callback, Trainer


class SaveLast(Callback):
    """Saves every `every` steps and after each epoch, with the position in the current epoch.

    It does not save after the last step. Lightning would consider a run resumed from there
    finished, and would skip what follows training.
    """

    def __init__(self, folder: Path, every: int):
        self.path, self.every = folder / "last.ckpt", every
        self.place = {"epoch": 0, "batch": 0}

    def state_dict(self) -> dict[str, int]:
        return self.place

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: Any, checkpoint: dict[str, Any]
    ) -> None:
        # The trainer's data, since those of a process that was started are a copy.
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        vars(data.resume).update(checkpoint["callbacks"][self.state_key])

    def save(self, trainer: Trainer, epoch: int, batch: int) -> None:
        if trainer.global_step >= trainer.estimated_stepping_batches:
            return
        self.place = {"epoch": epoch, "batch": batch}
        beside = self.path.with_name("last.ckpt.part")
        trainer.save_checkpoint(beside)
        if trainer.is_global_zero:
            os.replace(beside, self.path)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        # Not at an epoch's last batch: the validation that follows must not be skipped on resume.
        if trainer.global_step % self.every == 0 and not trainer.is_last_batch:
            self.save(trainer, trainer.current_epoch, batch_idx + 1)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        self.save(trainer, trainer.current_epoch + 1, 0)
