"""Calibrate confidences: the ECE of each exit, and a temperature where needed (Guo et al. 2017).

EAT section 7.2: 15 bins; a temperature is fitted where ECE exceeds 2 %.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from lightning import Callback, Trainer
from torch import Tensor
from torchmetrics.functional.classification import multiclass_calibration_error

from eat_lightning.data.calibration import FITTED_ON
from eat_lightning.record.passes import record
from eat_lightning.record.record import Record

ECE_BOUND = 0.02


def ece(logits_BC: Tensor, labels_B: Tensor, num_bins: int = 15) -> float:
    """Expected calibration error of the largest class probability (EAT, section 7.2), in [0, 1]."""
    probabilities = logits_BC.float().softmax(-1)
    num_classes = logits_BC.shape[-1]
    error = multiclass_calibration_error(probabilities, labels_B, num_classes, num_bins, norm="l1")
    return float(error)


def fit_temperature(logits_BC: Tensor, labels_B: Tensor) -> float:
    """Return the temperature with the lowest cross-entropy, by LBFGS on its logarithm in float64.

    It is limited to 0.05 ... 20, because an uninformative head would need an infinite temperature.
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
    encoder: Any, guesses: dict[int, Tensor], labels_B: Tensor, bound: float = ECE_BOUND
) -> dict:
    """Fit and set the temperature of each head whose ECE exceeds `bound`; return the results.

    Scores have no probability and hence no temperature. In multi-label tasks each label is
    calibrated as a binary decision.

    Args:
        guesses: logits by layer, with the current temperatures.
    """
    found = {}
    for layer, guess_BC in guesses.items():
        decisions = encoder.kind.as_classes(guess_BC, labels_B)
        if decisions is None:
            continue
        logits_MC, labels_M = decisions
        before = ece(logits_MC, labels_M)
        temperature = fit_temperature(logits_MC, labels_M) if before > bound else 1.0
        encoder.heads.at(layer).temperature.mul_(temperature)
        after = ece(logits_MC / temperature, labels_M)
        found[layer] = {"ece_before": before, "ece_after": after, "temperature": temperature}
    return found


class FitTemperature(Callback):
    """Fits temperatures after training, on the calibration split except the part for certificates.

    The checkpoint was selected on half of these examples. Using them again costs less than halving
    the number of examples would (experiments/paper/page.md).

    Args:
        early_alone: the last head keeps its temperature.
        to_full_depth: calibrate agreement with full depth instead of labels.
    """

    def __init__(self, early_alone: bool = False, to_full_depth: bool = False):
        self.early_alone, self.to_full_depth = early_alone, to_full_depth

    def on_train_end(self, trainer: Trainer, pl_module: Any) -> None:
        if not trainer.is_global_zero:
            return
        splits = map(trainer.datamodule.split, FITTED_ON)  # type: ignore[attr-defined]
        recorded = Record.concat([record(pl_module.encoder, split) for split in splits])
        guesses = {k: torch.as_tensor(v) for k, v in recorded.guesses.items()}
        last, kind = max(guesses), pl_module.encoder.kind
        agreed_B = kind.predictions(guesses[last])
        labels_B = agreed_B if self.to_full_depth else torch.as_tensor(recorded.labels)
        if self.early_alone:
            del guesses[last]
        bound = 0.0 if self.to_full_depth else ECE_BOUND  # one tau for all exits needs all fitted
        pl_module.calibration = calibrate(pl_module.encoder, guesses, labels_B, bound)
