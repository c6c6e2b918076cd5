"""The LightningModule around the encoder: training step, validation per exit, optimizer."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import Any

import torch
from lightning import LightningModule
from torch import Tensor, nn
from torch.optim import Optimizer
from torchmetrics import MeanMetric

from eat_lightning.data.metrics import metrics_for
from eat_lightning.model.contracts import EncoderPart, Objective, Pass, Schedule
from eat_lightning.model.encoder import AdaptiveEncoder, with_weights
from eat_lightning.model.packed import Batch
from eat_lightning.model.recorder import ALL_EXITS, PassOptions
from eat_lightning.model.shape import Shape
from eat_lightning.model.trace import Trace
from eat_lightning.model.training import Context
from eat_lightning.record.passes import record_of
from eat_lightning.train.callbacks.stages import Timeline


def step_seed(seed: int, step: int, rank: int) -> int:
    """Return the random seed of a training step. It depends on nothing before the step, so that a
    resumed run draws the same dropout as an uninterrupted one.
    """
    text = f"{seed}/{step}/{rank}".encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "big") >> 1


def adamw(groups: list[dict[str, Any]], lr: float) -> Optimizer:
    return torch.optim.AdamW(groups, lr=lr, fused=True)


class Classifier(LightningModule):
    """Trains the exits by the schedule's stages, and validates each on the checkpoint selection
    split.

    Args:
        teacher: an encoder, for objectives that need its hidden states.
    """

    def __init__(
        self,
        encoder: AdaptiveEncoder,
        task: Any,
        objective: Objective,
        schedule: Schedule,
        lr: float,
        weight_decay: float = 0.01,
        warmup: float = 0.1,
        seed: int = 1,
        teacher: AdaptiveEncoder | None = None,
        make_optimizer: Callable[[list[dict[str, Any]], float], Optimizer] = adamw,
    ):
        super().__init__()
        self.encoder, self.objective, self.schedule = encoder, objective, schedule
        self.lr, self.weight_decay, self.warmup, self.seed = lr, weight_decay, warmup, seed
        self.make_optimizer = make_optimizer
        self.teacher = [teacher]  # in a list: its weights are no part of this module
        self.metrics = nn.ModuleDict({layer: metrics_for(task) for layer in encoder.heads})
        self.main_metric = task.metrics[0]
        self.retention = MeanMetric()
        names = ["depth", "token_layers", *(f"exit_share_{k}" for k in exits_of(encoder))]
        self.trace_means = nn.ModuleDict({name: MeanMetric() for name in names})
        self.calibration: dict[int, dict[str, float]] = {}
        self.noted: dict[str, Any] = {}  # of done.json, beside what every run notes

    @cached_property
    def timeline(self) -> Timeline:
        """The schedule's stages laid out over the steps of this run."""
        epochs = self.trainer.max_epochs or 1
        stages = self.schedule.stages(epochs, self.encoder.heads.layers)
        return Timeline.of(stages, int(self.trainer.estimated_stepping_batches))

    @property
    def methods(self) -> list[EncoderPart]:
        """Encoder parts and heads that may have parameters and penalties."""
        slots = [self.encoder.attention, self.encoder.reduction, self.encoder.exit]
        return [*slots, *self.encoder.heads.by_layer.values()]

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        torch.manual_seed(step_seed(self.seed, self.global_step, self.global_rank))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        number = self.timeline.number(self.global_step)
        stage = self.timeline.stages[number]
        objective: Objective = stage.objective or self.objective
        options = PassOptions(
            flow=objective.flow,
            skips=dropped_layers(self.encoder.shape),
            keep_hidden="hidden" in objective.wants,
            keep_scores="scores" in objective.wants,
            soft=stage.soft,
        )
        weights = objective.effective_weights(self.encoder)
        trace = with_weights(self.encoder, weights, batch, options)
        further = [
            pass_of(self.encoder, batch, wanted, options)
            for wanted in objective.passes(self.global_step, self.encoder)
        ]
        context = self.context(batch, trace, further, objective, number)
        for method in self.methods:
            context.penalties |= method.penalties(context)
        loss = objective(context)
        # Sums over all processes' examples / their number; DDP averages, hence world_size.
        share = 0.0 if batch.idle else self.trainer.world_size / batch.num_global
        self.log_training(trace, {"loss": loss.total, **loss.parts}, share)
        return loss.total * share

    def context(
        self, batch: Batch, trace: Trace, further: list[Trace], objective: Objective, number: int
    ) -> Context:
        """Return everything that an objective may read in this step.

        Args:
            further: traces of the objective's additional passes.
        """
        last, stage = self.encoder.shape.num_layers, self.timeline.stages[number]
        counts = {"all": lambda k: True, "last": lambda k: k == last, "early": lambda k: k < last}
        assert batch.labels_B is not None
        return Context(
            guesses={k: g for k, g in trace.guesses.items() if counts[stage.exits](k)},
            labels_B=batch.labels_B,
            last=last,
            teacher_BC=batch.teacher_BC,
            signals=trace.signals,
            penalties=dict(trace.inside.penalties),
            step=self.global_step,
            epoch=self.global_step / self.timeline.total * (self.trainer.max_epochs or 1),
            stage=number,
            hidden=trace.inside.hidden,
            scores=trace.inside.scores,
            passes=[other.guesses for other in further],
            hidden_passes=[other.inside.hidden for other in further],
            full_BC=trace.guesses[last],
            pools=trace.inside.pools,
            strength=float(self.encoder.strength),
            kind=self.encoder.kind,
            **self.shown_by_teacher(batch, objective),
        )

    @torch.no_grad()
    def shown_by_teacher(self, batch: Batch, objective: Objective) -> dict[str, Any]:
        """Return the teacher's hidden states, scores and passes if the objective needs them, else
        {}.
        """
        wants, teacher = objective.wants, self.teacher[0]
        if teacher is None or "teacher_hidden" not in wants:
            return {}
        teacher.to(batch.ids_N.device).eval()
        options = PassOptions(leave=False, keep_hidden=True, keep_scores="scores" in wants)
        shown = teacher(batch, options)
        lessons = objective.lessons(teacher)
        return {
            "teacher_hidden": shown.inside.hidden,
            "teacher_scores": shown.inside.scores,
            "teacher_passes": [pass_of(teacher, batch, each, options) for each in lessons],
        }

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """Clamp learned parameters to their bounds."""
        for method in (*self.methods, self.objective):
            method.after_step()

    def log_training(self, trace: Trace, losses: dict[str, Tensor], share: float) -> None:
        for name, value in losses.items():
            mean = value.detach() * share
            self.log(f"train/{name}", mean, prog_bar=name == "loss", sync_dist=True)
        retention = torch.as_tensor(trace.retention_B.sum()).float() * share
        self.log("train/retention", retention, sync_dist=True)
        self.log("train/scheduled_retention", scheduled_retention(self.encoder))
        self.log("train/lr", self.trainer.optimizers[0].param_groups[0]["lr"])

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Add a batch to the metrics."""
        if batch.idle:
            return
        weights = self.objective.effective_weights(self.encoder)
        trace = with_weights(self.encoder, weights, batch, ALL_EXITS)
        assert batch.labels_B is not None
        for layer, guess_BC in trace.guesses.items():
            predictions_B = self.encoder.kind.predictions(guess_BC)
            for metric in self.metrics[str(layer)].values():  # type: ignore[operator]
                metric.update(predictions_B, batch.labels_B)
        self.retention.update(torch.from_numpy(trace.retention_B))
        for name, value_B in trace_metrics(self.encoder, trace).items():
            self.trace_means[name].update(value_B)  # type: ignore[operator]

    def on_validation_epoch_end(self) -> None:
        """Log `select/score`, the mean of the main metric over the exits that the stage trains. The
        last head's metric alone would ignore the early exits.
        """
        scores = {}
        for layer, metrics in self.metrics.items():
            for name, metric in metrics.items():  # type: ignore[operator]
                value = metric.compute()
                self.log(f"select/{name}_exit_{layer}", value)
                if name == self.main_metric:
                    scores[int(layer)] = value
                metric.reset()
        self.log("select/score", torch.stack([*scores.values()]).mean(), prog_bar=True)
        for name, mean in {"retention": self.retention, **self.trace_means}.items():
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
        optimizer = self.make_optimizer(self.parameter_groups(), self.lr)
        scheduler = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: self.timeline.learning_rate(step, self.warmup)
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return the optimizer's groups: first those that methods define (with their own rate,
        decay or sign). Of the remaining parameters, matrices have weight decay; biases and norms
        have none.
        """
        parts = [*self.methods, self.objective]
        named = [dict(group) for method in parts for group in method.groups(self.lr)]
        # A step of Adam is about as long as its rate, so the sum of rates is how far the soft
        # stages can carry a parameter: a group may name that as its `travel`.
        for group in (group for group in named if "travel" in group):
            group["lr"] = group.pop("travel") / self.timeline.soft_rates(self.warmup)
        taken = {id(p) for group in named for p in group["params"]}
        rest = list(self.encoder.parameters())
        rest += list(self.objective.parameters()) if isinstance(self.objective, nn.Module) else []
        rest = [p for p in rest if id(p) not in taken]
        return [
            {"params": [p for p in rest if p.ndim > 1], "weight_decay": self.weight_decay},
            {"params": [p for p in rest if p.ndim <= 1], "weight_decay": 0.0},
            *named,
        ]


def dropped_layers(shape: Shape) -> frozenset[int]:
    """Draw the layers that a step skips for the whole batch, each with probability `layerdrop` (Fan
    et al. 2020). Weights trained this way tolerate removing layers later; as the authors found,
    fine-tuning alone does not suffice.
    """
    if not shape.layerdrop:
        return frozenset()  # without a random number: runs without it stay what they were
    gone_L = torch.rand(shape.num_layers) < shape.layerdrop
    return frozenset(number for number, gone in enumerate(gone_L.tolist(), start=1) if gone)


def pass_of(encoder: AdaptiveEncoder, batch: Batch, wanted: Pass, options: PassOptions) -> Trace:
    """Run a further pass over the same batch.

    Args:
        options: of the first pass.
    """
    twin = encoder.replacing(reduction=wanted.reduction)
    options = replace(options, leave=False, skips=wanted.skips)
    return with_weights(twin, wanted.weights, batch, options)


def exits_of(encoder: AdaptiveEncoder) -> list[int]:
    return sorted({*encoder.exit.layers, encoder.shape.num_layers})


def trace_metrics(encoder: AdaptiveEncoder, trace: Trace) -> dict[str, Tensor]:
    """Apply the encoder's exit rule to a batch that ran all layers. Returns each example's depth
    and token_layers, and a one-hot of its exit. Confidences are not calibrated yet, because
    temperatures are fitted after training.
    """
    record = record_of(encoder, trace)
    exits = record.replay()
    left = {f"exit_share_{k}": exits.depth_B == k for k in exits_of(encoder)}
    found = {"depth": exits.depth_B, "token_layers": record.token_layers_B(exits), **left}
    return {name: torch.from_numpy(value_B).double() for name, value_B in found.items()}


def scheduled_retention(encoder: AdaptiveEncoder) -> float:
    """Return the product of (1 - ratio x strength) over the layers that reduce, the paper's 0.49.
    Measured retention is higher because of ceil() and short texts. 1 where the ratios are unknown.
    """
    strength = float(encoder.strength)
    return math.prod(1 - ratio * strength for ratio in encoder.reduction.ratios() or ())
