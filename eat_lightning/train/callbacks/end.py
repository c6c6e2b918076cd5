"""What ends a run, in the order in which it is done: the best weights, as they act, their
temperatures (Guo et al. 2017), and the record of it all.

EAT section 7.2: ECE in 15 bins; a temperature is fitted where it exceeds 2 %.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from lightning import Callback, Trainer
from torch import Tensor
from torchmetrics.functional.classification import multiclass_calibration_error

from eat_lightning.files import write_json
from eat_lightning.infer.record import record
from eat_lightning.model.contracts import spec
from eat_lightning.model.encoder import settle
from eat_lightning.runs.card import write_card
from eat_lightning.runs.row import row_of, write
from eat_lightning.runs.run import Run
from eat_lightning.track.log import log_frontier, log_result
from eat_lightning.train.shards import load_whole, whole
from eat_lightning.weights.checkpoint import save_model


class SelectBest(Callback):
    """Keeps the weights of the best validation, on a part of the calibration cut and never on dev,
    among those in the schedule's last stage at its final strength: an earlier one knows less
    pruning than the model will be used with."""

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
        if not pl_module.timeline.reached(trainer.global_step):
            return
        score = float(trainer.callback_metrics["select/score"])
        score = -math.inf if math.isnan(score) else score  # a constant correlates with nothing
        if self.best is None or score > self.best["score"]:
            weights = whole(pl_module.state_dict())
            weights = {n: w.detach().clone() for n, w in weights.items()}
            self.best = {"score": score, "step": trainer.global_step, "weights": weights}

    def on_train_end(self, trainer: Trainer, pl_module: Any) -> None:
        if self.best is not None:
            with torch.no_grad():
                load_whole(pl_module, self.best["weights"])


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


def ece(logits_BC: Tensor, labels_B: Tensor, num_bins: int = 15) -> float:
    """Expected calibration error of the largest class probability (EAT, section 7.2), 0 ... 1."""
    probabilities = logits_BC.float().softmax(-1)
    num_classes = logits_BC.shape[-1]
    error = multiclass_calibration_error(probabilities, labels_B, num_classes, num_bins, norm="l1")
    return float(error)


def fit_temperature(logits_BC: Tensor, labels_B: Tensor) -> float:
    """The temperature of least cross-entropy, by LBFGS on its logarithm in float64.

    Kept in 0.05 ... 20: a head that knows nothing would ask for an infinite one.
    """
    logits_BC = logits_BC.detach().double()
    log_t = torch.zeros((), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([log_t], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(logits_BC / log_t.exp(), labels_B)
        loss.backward()
        return loss

    with torch.enable_grad():
        optimizer.step(closure)  # type: ignore[arg-type]
    return float(log_t.detach().exp().clamp(0.05, 20.0))


def calibrate(
    encoder: Any, guesses: dict[int, Tensor], labels_B: Tensor, bound: float = 0.02
) -> dict:
    """Fit and set the temperature of each head whose ECE exceeds `bound`; returns what was found.

    guesses: logits by layer, as the heads give them now.
    """
    found = {}
    for layer, logits_BC in guesses.items():
        before = ece(logits_BC, labels_B)
        temperature = fit_temperature(logits_BC, labels_B) if before > bound else 1.0
        encoder.heads[str(layer)].temperature.mul_(temperature)
        after = ece(logits_BC / temperature, labels_B)
        found[layer] = {"ece_before": before, "ece_after": after, "temperature": temperature}
    return found


class FitTemperature(Callback):
    """After training, on the part of the calibration cut that nothing else uses."""

    def on_train_end(self, trainer: Trainer, pl_module: Any) -> None:
        if pl_module.encoder.num_labels == 1 or not trainer.is_global_zero:
            return
        recorded = record(pl_module.encoder, trainer.datamodule.split("temperature"))  # type: ignore[attr-defined]
        guesses = {k: torch.as_tensor(v) for k, v in recorded.guesses.items()}
        labels = torch.as_tensor(recorded.labels)
        pl_module.calibration = calibrate(pl_module.encoder, guesses, labels)


class Record(Callback):
    """Writes what a finished run is made of. done.json comes last: without it a run is partial."""

    def __init__(self, run: Run):
        self.run = run

    def on_train_end(self, trainer: Trainer, pl_module: Any) -> None:
        if trainer.interrupted or not trainer.is_global_zero:
            return
        run, encoder, data = self.run, pl_module.encoder, trainer.datamodule  # type: ignore[attr-defined]
        data.tokenizer.save_pretrained(run.folder / "model")
        labels = list(data.task.labels) or ["score"]
        save_model(encoder, labels, run.folder / "model", spec("objective", pl_module.objective))
        recorded = record(encoder, data.split("validation"))
        recorded.to_parquet(run.folder / "examples.parquet")
        run.done = self.notes(trainer, pl_module, len(data.split("train")))
        row = row_of(run, encoder, recorded, examples="examples.parquet")
        run.done["score"] = getattr(row, row.metric)
        write(run.folder / "rows.jsonl", [row])
        for logger in trainer.loggers:
            log_result(logger, row, run.config, trainer.global_step)
            log_frontier(logger, run, encoder, recorded)
        write_card(run)
        write_json(run.folder / "done.json", run.done)

    def notes(self, trainer: Trainer, module: Any, num_train_examples: int) -> dict[str, Any]:
        """What done.json holds, but for the score on dev."""
        select = next(c for c in trainer.callbacks if hasattr(c, "best"))  # type: ignore[attr-defined]
        best = select.best or {}
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
        }
