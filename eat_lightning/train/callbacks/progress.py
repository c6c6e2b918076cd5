"""Progress lines where there is no terminal for a progress bar."""

from __future__ import annotations

import sys
import time
from typing import Any

from lightning import Callback, Trainer


class ProgressLines(Callback):
    """Prints step, loss and remaining time about every `seconds`, and the scores of each epoch.

    Args:
        scores: False omits the scores.
    """

    def __init__(self, seconds: float = 30.0, scores: bool = True):
        self.seconds, self.scores = seconds, scores
        self.began: float | None = None  # the end of the first step, which is slower than others
        self.last, self.first_step = 0.0, 0

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        self.began, self.last = None, time.monotonic()

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, *_: Any) -> None:
        now = time.monotonic()
        if self.began is None:
            self.began, self.first_step = now, trainer.global_step
            return
        if sys.stderr.isatty() or now - self.last < self.seconds or not trainer.is_global_zero:
            return
        self.last = now
        total, step = int(trainer.estimated_stepping_batches), trainer.global_step
        left = (now - self.began) / max(1, step - self.first_step) * (total - step)
        loss = float(trainer.callback_metrics.get("train/loss", float("nan")))
        line = f"step {step}/{total}  loss {loss:.3f}  {left / 60:.1f} min left"
        print(line, file=sys.stderr, flush=True)

    def on_train_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Say that the run's epochs ended before its `max_steps`."""
        step, wanted = trainer.global_step, trainer.max_steps
        if step < wanted and trainer.is_global_zero:
            why = f"trainer.max_epochs={trainer.max_epochs} were over"
            print(f"stopped at step {step} of trainer.max_steps={wanted}: {why}", flush=True)

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        known = "select/score" in trainer.callback_metrics
        if self.scores and trainer.is_global_zero and known:
            metrics = trainer.callback_metrics
            score, retention = float(metrics["select/score"]), metrics.get("select/retention")
            kept = "" if retention is None else f", retention {float(retention):.3f}"
            what = f"{pl_module.main_metric} {score:.4f}"
            print(
                f"step {trainer.global_step}: {what} on the selection split{kept}",
                flush=True,
            )
