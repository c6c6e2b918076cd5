"""The LightningModule around the encoder; thin: a step, a validation per exit, an optimizer."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import torch
from lightning import LightningModule
from torch import Tensor, nn
from torchmetrics import MeanMetric

from eat_lightning.data.metrics import metrics_for
from eat_lightning.infer.record import Recorded
from eat_lightning.methods.schedule.anneal import scheduled_retention
from eat_lightning.model.contracts import Objective
from eat_lightning.model.encoder import AdaptiveEncoder, Trace
from eat_lightning.model.packed import Batch


def step_seed(seed: int, step: int, rank: int) -> int:
    """The random state of a training step depends on nothing before it, so that a resumed run draws
    the same dropout as an uninterrupted one."""
    text = f"{seed}/{step}/{rank}".encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "big") >> 1


class Classifier(LightningModule):
    """Trains every exit at once; validates each on the split that selects checkpoints."""

    def __init__(
        self,
        encoder: AdaptiveEncoder,
        task: Any,
        objective: Objective,
        lr: float,
        weight_decay: float = 0.01,
        warmup: float = 0.1,
        seed: int = 1,
    ):
        super().__init__()
        self.encoder, self.objective, self.seed = encoder, objective, seed
        self.lr, self.weight_decay, self.warmup = lr, weight_decay, warmup
        self.metrics = nn.ModuleDict({layer: metrics_for(task) for layer in encoder.heads})
        self.main_metric = task.metrics[0]
        self.retention = MeanMetric()
        names = ["depth", "token_layers", *(f"exit_share_{k}" for k in exits_of(encoder))]
        self.way = nn.ModuleDict({name: MeanMetric() for name in names})
        self.calibration: dict[int, dict[str, float]] = {}

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        torch.manual_seed(step_seed(self.seed, self.global_step, self.global_rank))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        trace = self.encoder(batch)
        assert batch.labels_B is not None
        loss = self.objective(trace.guesses, batch.labels_B, batch.teacher_BC, trace.penalties)
        # Sums over all processes' examples / their number; DDP averages, hence world_size.
        share = self.trainer.world_size / batch.num_global
        self.log_training(batch, trace, {"loss": loss.total, **loss.parts}, share)
        return loss.total * share

    def log_training(
        self, batch: Batch, trace: Trace, losses: dict[str, Tensor], share: float
    ) -> None:
        for name, value in losses.items():
            mean = value.detach() * share
            self.log(f"train/{name}", mean, prog_bar=name == "loss", sync_dist=True)
        self.log("train/retention", trace.retention_B.mean().float(), sync_dist=True)
        self.log("train/scheduled_retention", scheduled_retention(self.encoder))
        self.log("train/lr", self.trainer.optimizers[0].param_groups[0]["lr"])

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        trace = self.encoder(batch, leave=False)
        assert batch.labels_B is not None
        for layer, guess_BC in trace.guesses.items():
            for metric in self.metrics[str(layer)].values():  # type: ignore[operator]
                metric.update(as_predictions(guess_BC), batch.labels_B)
        self.retention.update(trace.retention_B)
        for name, value_B in way(self.encoder, trace).items():
            self.way[name].update(value_B)  # type: ignore[operator]

    def on_validation_epoch_end(self) -> None:
        last = str(self.encoder.shape.num_layers)
        for layer, metrics in self.metrics.items():
            for name, metric in metrics.items():  # type: ignore[operator]
                value = metric.compute()
                self.log(f"select/{name}_exit_{layer}", value)
                if layer == last and name == self.main_metric:
                    self.log("select/score", value, prog_bar=True)
                metric.reset()
        for name, mean in {"retention": self.retention, **self.way}.items():
            self.log(f"select/{name}", mean.compute())  # type: ignore[operator]
            mean.reset()  # type: ignore[operator]

    def configure_gradient_clipping(
        self,
        optimizer: Any,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        # Lightning refuses fused optimizers under mixed precision for their loss scaling, which
        # bf16 does without; fused AdamW is the faster one.
        if gradient_clip_val:
            nn.utils.clip_grad_norm_(self.parameters(), gradient_clip_val)

    def configure_optimizers(self) -> Any:
        decayed = [p for p in self.parameters() if p.ndim > 1]
        free = [p for p in self.parameters() if p.ndim <= 1]  # biases and norms
        groups = [
            {"params": decayed, "weight_decay": self.weight_decay},
            {"params": free, "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW(groups, lr=self.lr, fused=True)
        total = int(self.trainer.estimated_stepping_batches)
        scheduler = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: warm_then_linear(step, total, self.warmup)
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }


def exits_of(encoder: AdaptiveEncoder) -> list[int]:
    return sorted({*encoder.exit.layers, encoder.shape.num_layers})


def way(encoder: AdaptiveEncoder, trace: Trace) -> dict[str, Tensor]:
    """What the encoder's exit rule makes of a batch that ran all layers: each example's depth and
    token_layers, and 1 where it leaves. Confidences are as they come: temperatures are fitted when
    training ends."""
    guesses = {k: guess_BC.float().cpu().numpy() for k, guess_BC in trace.guesses.items()}
    tokens_LB = trace.tokens_LB.numpy()
    unknown_B = np.zeros(tokens_LB.shape[1])
    outcome = Recorded(unknown_B, tokens_LB[0], guesses, tokens_LB, encoder.exit).under()
    left = {f"exit_share_{k}": outcome.depth_B == k for k in exits_of(encoder)}
    found = {"depth": outcome.depth_B, "token_layers": outcome.token_layers_B, **left}
    return {name: torch.from_numpy(value_B).double() for name, value_B in found.items()}


def warm_then_linear(step: int, total: int, warmup: float) -> float:
    """Share of the learning rate: up over the first `warmup` of all steps, then down to 0."""
    rising = max(1, round(total * warmup))
    if step < rising:
        return (step + 1) / rising
    return max(0.0, (total - step) / max(1, total - rising))


def as_predictions(logits_BC: Tensor) -> Tensor:
    """Classes, or the score of a regression."""
    return logits_BC[:, 0].float() if logits_BC.shape[1] == 1 else logits_BC.argmax(-1)
