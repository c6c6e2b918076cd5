"""What is said and saved while a run goes on."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

from lightning import Callback, Trainer


class Lines(Callback):
    """Prints step, loss and the time left about every `seconds` where there is no progress bar."""

    def __init__(self, seconds: float = 30.0):
        self.seconds, self.began, self.last, self.first_step = seconds, 0.0, 0.0, 0

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        self.began = self.last = time.monotonic()
        self.first_step = trainer.global_step

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, *_: Any) -> None:
        now = time.monotonic()
        if sys.stderr.isatty() or now - self.last < self.seconds or not trainer.is_global_zero:
            return
        self.last = now
        total, step = int(trainer.estimated_stepping_batches), trainer.global_step
        left = (now - self.began) / max(1, step - self.first_step) * (total - step)
        loss = float(trainer.callback_metrics.get("train/loss", float("nan")))
        print(f"step {step}/{total}  loss {loss:.3f}  {left / 60:.1f} min left", flush=True)

    def on_train_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Say that epochs ended it before the steps that were asked for."""
        step, wanted = trainer.global_step, trainer.max_steps
        if step < wanted and trainer.is_global_zero:
            why = f"trainer.max_epochs={trainer.max_epochs} were over"
            print(f"stopped at step {step} of trainer.max_steps={wanted}: {why}", flush=True)

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        if trainer.is_global_zero and "select/score" in trainer.callback_metrics:
            metrics = trainer.callback_metrics
            score, retention = float(metrics["select/score"]), float(metrics["select/retention"])
            print(
                f"step {trainer.global_step}: {pl_module.main_metric} {score:.4f} on the selection "
                f"split, retention {retention:.3f}",
                flush=True,
            )


class SaveLast(Callback):
    """Writes last.ckpt whole, every `every` steps and after each epoch, so that a killed run goes
    on to the same weights; tells the data where the epoch under way goes on.

    Not after the last step: Lightning would take a run resumed from there for ended, and what
    follows training would never be made up for.
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
        place = checkpoint["callbacks"][self.state_key]
        trainer.datamodule.resume_at(place["epoch"], place["batch"])  # type: ignore[attr-defined]

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
