"""When training ends: model folder, one line per dev example, the run's row, last done.json."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer


class Record(Callback):
    """Writes what a finished run is made of. done.json comes last: without it a run is partial."""

    def __init__(self, config: dict[str, Any], folder: Path):
        self.config, self.folder = config, folder

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.interrupted or not trainer.is_global_zero:
            return
        from eat_lightning.infer.record import record
        from eat_lightning.model.contracts import spec
        from eat_lightning.weights.checkpoint import save_model

        module: Any = pl_module
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        encoder = module.encoder
        data.tokenizer.save_pretrained(self.folder / "model")
        labels = list(data.task.labels) or ["score"]
        objective = spec("objective", module.objective)
        save_model(encoder, labels, self.folder / "model", objective)
        recorded = record(encoder, data.split("validation"))
        recorded.under().to_parquet(self.folder / "examples.parquet")
        self.finish(trainer, module, recorded)

    def finish(self, trainer: Trainer, module: Any, recorded: Any) -> None:
        from eat_lightning.runs.row import row_of, write
        from eat_lightning.runs.run import Run, write_json
        from eat_lightning.track.log import log_frontier, log_result

        select = next(c for c in trainer.callbacks if hasattr(c, "best"))  # type: ignore[attr-defined]
        best = select.best or {}
        done = {
            "steps": trainer.global_step,
            "lr": module.lr,
            "num_train_examples": len(trainer.datamodule.split("train")),  # type: ignore[attr-defined]
            "selected_step": best.get("step", trainer.global_step),
            "selection_score": best.get("score"),
            "calibration": {str(k): v for k, v in module.calibration.items()},
            "strength": float(module.encoder.strength),
            "precision": str(trainer.precision),
        }
        run = Run(self.folder, self.config, done)
        row = row_of(run, module.encoder, recorded, examples="examples.parquet")
        done["score"] = getattr(row, row.metric)
        write(self.folder / "rows.jsonl", [row])
        for logger in trainer.loggers:
            log_result(logger, row, self.config, trainer.global_step)
            log_frontier(logger, run, module.encoder, recorded)
        write_json(self.folder / "done.json", done)
