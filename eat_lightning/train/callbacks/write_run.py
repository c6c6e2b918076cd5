"""At the end of training, write the model folder, dev predictions, the run's row and done.json."""

from __future__ import annotations

from time import perf_counter
from typing import Any

import torch
from lightning import Callback, Trainer

from eat_lightning.files import write_json
from eat_lightning.model.specification import Specification
from eat_lightning.record.passes import record
from eat_lightning.runs.card import write_card
from eat_lightning.runs.row import row_of, write
from eat_lightning.runs.run import Run
from eat_lightning.track.log import log_frontier, log_result
from eat_lightning.train.callbacks.select import SelectBest
from eat_lightning.user_modules import sources_of_encoder
from eat_lightning.weights.hf_folder import save_run_model


class WriteRun(Callback):
    """Writes the files of a finished run. done.json is written last; a run without it is partial.

    Args:
        began: `perf_counter()` at the start of training; None for a resumed run.
    """

    def __init__(self, run: Run, began: float | None):
        self.run, self.began = run, began

    def on_train_end(self, trainer: Trainer, pl_module: Any) -> None:
        if trainer.interrupted or not trainer.is_global_zero:
            return
        seconds = None if self.began is None else perf_counter() - self.began
        run, encoder, data = self.run, pl_module.encoder, trainer.datamodule  # type: ignore[attr-defined]
        data.tokenizer.save_pretrained(run.folder / "model")
        labels = list(data.task.labels) or ["score"]
        save_run_model(
            encoder,
            labels,
            run.folder / "model",
            Specification.of("objective", pl_module.objective),
        )
        recorded = record(encoder, data.split("validation"))
        recorded.to_parquet(run.folder / "examples.parquet")
        run.done = self.notes(trainer, pl_module, len(data.split("train")))
        run.done["train_seconds"] = seconds
        row = row_of(run, encoder, recorded, examples="examples.parquet")
        run.done["score"] = row.score
        write(run.folder / "rows.jsonl", [row])
        for logger in trainer.loggers:
            log_result(logger, row, run.config, trainer.global_step)
            log_frontier(logger, run, encoder, recorded)
        write_card(run)
        write_json(run.folder / "done.json", run.done)

    def notes(self, trainer: Trainer, module: Any, num_train_examples: int) -> dict[str, Any]:
        """Return the contents of done.json, without the dev score."""
        callbacks = trainer.callbacks  # type: ignore[attr-defined]
        best = next((c.best for c in callbacks if isinstance(c, SelectBest)), None) or {}
        last = trainer.callback_metrics.get("select/score")
        return {
            "steps": trainer.global_step,
            "lr": module.lr,
            "num_train_examples": num_train_examples,
            "selected_step": best.get("step", trainer.global_step),
            "selection_score": best.get("score", None if last is None else float(last)),
            "calibration": {str(k): v for k, v in module.calibration.items()},
            "strength": float(module.encoder.strength),
            "precision": str(trainer.precision),
            "train_threads": torch.get_num_threads(),
            "sources": sources_of_encoder(module.encoder),
            **module.noted,
        }
