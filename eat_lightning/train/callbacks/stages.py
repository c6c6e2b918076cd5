"""Follow the schedule: the current stage, and its settings for each step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from lightning import Callback, Trainer
from torch import nn

from eat_lightning.model.contracts import Head, Objective, Stage, overrides
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.training import Context


@dataclass(frozen=True)
class Timeline:
    """The stages of a run, and the steps at which they begin."""

    stages: list[Stage]
    begins: list[int]
    total: int

    @classmethod
    def of(cls, stages: list[Stage], total: int) -> Timeline:
        """Lay out stages over `total` steps. Every stage gets at least one step, even in a short
        run.
        """
        begins, done = [], 0.0
        for number, stage in enumerate(stages):
            begins.append(max(round(done * total), number))
            done += stage.share
        return cls(stages, begins, total)

    def number(self, step: int) -> int:
        """Index of the stage at a step (0-based)."""
        return max(i for i, begin in enumerate(self.begins) if begin <= max(step, 0))

    def length(self, number: int) -> int:
        ends = [*self.begins[1:], max(self.total, self.begins[-1] + 1)]
        return max(1, ends[number] - self.begins[number])

    def strength(self, step: int) -> float:
        """Strength at a step. The current step counts, so that the last step of a stage uses its
        final strength.
        """
        number = self.number(step)
        done = step + 1 - self.begins[number]
        return self.stages[number].strength(done / self.length(number))

    def reached(self, step: int) -> bool:
        """True if the run's final strength is in force after `step` steps."""
        number = self.number(step - 1)
        if number < len(self.stages) - 1:
            return False
        done = (step - self.begins[number]) / self.length(number)
        return self.stages[-1].strength(done) >= self.stages[-1].strength(1.0)

    def learning_rate(self, step: int, warmup: float) -> float:
        """Factor on the run's rate: linear warm-up over the first `warmup` of a stage, then decay
        to 0.
        """
        number = self.number(min(step, self.total - 1))
        stage, length = self.stages[number], self.length(number)
        return stage.lr * warm_then_linear(step - self.begins[number], length, warmup)

    def soft_rates(self, warmup: float) -> float:
        """Sum of the learning-rate factors over the steps of soft stages, or of all stages if none
        is soft.
        """
        rates = [self.learning_rate(step, warmup) for step in range(self.total)]
        soft = [self.stages[self.number(step)].soft for step in range(self.total)]
        return sum(r for r, counts in zip(rates, soft, strict=True) if counts or not any(soft))


def warm_then_linear(step: int, total: int, warmup: float) -> float:
    """Factor on the learning rate: linear warm-up over the first `warmup` of all steps, then linear
    decay to 0.
    """
    rising = max(1, round(total * warmup))
    if step < rising:
        return (step + 1) / rising
    return max(0.0, (total - step) / max(1, total - rising))


class FollowStages(Callback):
    """Sets strength and trainable parameters before every step.

    The stage is saved in checkpoints. A run resumed at the start of a stage begins it with fresh
    optimizer moments, as an uninterrupted run does.
    """

    def __init__(self) -> None:
        self.stage: int | None = None

    def state_dict(self) -> dict[str, Any]:
        return {"stage": self.stage}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.stage = state_dict["stage"]

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        if self.stage is not None:  # resumed within a stage
            freeze(pl_module, pl_module.timeline.stages[self.stage])

    def on_train_batch_start(self, trainer: Trainer, pl_module: Any, *_: Any) -> None:
        timeline, encoder = pl_module.timeline, pl_module.encoder
        number = timeline.number(trainer.global_step)
        stage = timeline.stages[number]
        if number != self.stage:
            freeze(pl_module, stage)
            for optimizer in trainer.optimizers if self.stage is not None else ():
                optimizer.state.clear()
            self.stage = number
        encoder.strength.fill_(timeline.strength(trainer.global_step))
        pl_module.log("train/strength", encoder.strength.float())
        pl_module.log("train/stage", float(number))


def freeze(module: Any, stage: Stage) -> None:
    """Freeze everything that the stage does not train. A frozen parameter has no gradient at all,
    so that AdamW skips it; with a gradient of 0, decay and stale moments would still change it.
    """
    for name, parameter in module.encoder.named_parameters():
        parameter.requires_grad_(stage.moves(name))
        if not parameter.requires_grad:
            parameter.grad = None


def all_train(encoder: AdaptiveEncoder, stages: Sequence[Stage], objective: Objective) -> bool:
    """True if every parameter gets a gradient in every step.

    This needs steps through all layers, stages that freeze nothing and use all exits, and losses
    from all heads. Methods, heads with a loss and the objective must have no parameters of their
    own, since these may be unused in some steps.
    """
    if encoder.shape.layerdrop:
        return False
    parts: list[Any] = [encoder.attention, encoder.reduction, encoder.exit, objective]
    parts += [head for head in encoder.heads.by_layer.values() if overrides(head, Head.penalties)]
    if any(isinstance(part, nn.Module) and [*part.parameters()] for part in parts):
        return False
    if any(s.trains != ("*",) or s.frozen or s.exits != "all" for s in stages):
        return False
    return all(sees_all_heads(encoder, stage.objective or objective) for stage in stages)


def sees_all_heads(encoder: AdaptiveEncoder, objective: Objective) -> bool:
    """True if the loss has a gradient at every head. This is tested with zero logits in two steps,
    because some objectives alternate. An objective that needs more than logits counts as False.
    """
    kind = encoder.kind
    size, labels_B = (2, kind.width), torch.zeros(2, *kind.label_shape, dtype=torch.long)
    guesses = {layer: torch.zeros(size, requires_grad=True) for layer in encoder.heads.layers}
    last, teacher_BC = encoder.shape.num_layers, torch.zeros(size)
    try:
        for step in (0, 1):
            loss = objective(Context(guesses, labels_B, last, teacher_BC, step=step, kind=kind))
            torch.autograd.grad(loss.total, [*guesses.values()])
    except Exception:  # RuntimeError for a head that is left out, any other for what is not given
        return False
    return True
