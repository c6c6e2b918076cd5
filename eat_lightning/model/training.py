"""The data that a training step hands to an objective (`Context`), its loss, and scaled gradients.

Shapes: B examples, C classes, S signals.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from eat_lightning.answer_kind import AnswerKind, kind_of
from eat_lightning.model.inside import Scores
from eat_lightning.model.packed import Packed
from eat_lightning.model.trace import Trace


@dataclass
class Loss:
    """Sums over the examples of a batch: `total` is minimised, and `parts` are for logs."""

    total: Tensor
    parts: dict[str, Tensor] = field(default_factory=dict)


@dataclass
class Context:
    """The data of a training step for an objective and for a method's `penalties`.

    Args:
        guesses: logits by exit layer, for the exits of this stage.
        labels_B: labels.
        last: the last layer.
        teacher_BC: the teacher's logits; None without a teacher.
        signals: signals that the exit rule observed, B x S by layer.
        penalties: further terms of the loss for each example, by name.
        step: step of the run, from 0.
        epoch: epoch of the run, with the fraction of the current one.
        stage: number of the stage, from 0.
        hidden: the vectors after each layer (0: the embedding), for an objective that `wants` them.
        teacher_hidden: the teacher's, as wanted.
        scores: each layer's attention scores, as wanted.
        teacher_scores: the teacher's, as wanted.
        passes: logits of the further passes that the objective requests.
        hidden_passes: vectors of these passes.
        teacher_passes: traces of the teacher's further passes.
        full_BC: logits of the last head, also if it is not trained in this stage.
        pools: vectors of heads that see earlier exits, by layer.
        strength: progress of the schedule, 0 ... 1.
        kind: kind of the answers.
    """

    guesses: dict[int, Float[Tensor, "b c"]]
    labels_B: Tensor
    last: int
    teacher_BC: Float[Tensor, "b c"] | None = None
    signals: dict[int, Float[Tensor, "b s"]] = field(default_factory=dict)
    penalties: dict[str, Tensor] = field(default_factory=dict)
    step: int = 0
    epoch: float = 0.0
    stage: int = 0
    hidden: dict[int, Packed] = field(default_factory=dict)
    teacher_hidden: dict[int, Packed] = field(default_factory=dict)
    scores: dict[int, Scores] = field(default_factory=dict)
    teacher_scores: dict[int, Scores] = field(default_factory=dict)
    passes: list[dict[int, Tensor]] = field(default_factory=list)
    hidden_passes: list[dict[int, Packed]] = field(default_factory=list)
    teacher_passes: list[Trace] = field(default_factory=list)
    full_BC: Float[Tensor, "b c"] | None = None
    pools: dict[int, Float[Tensor, "b d"]] = field(default_factory=dict)
    strength: float = 1.0
    kind: AnswerKind = None  # type: ignore[assignment]  # None: by the width of a guess

    def __post_init__(self) -> None:
        if self.kind is None:
            self.kind = kind_of({}, next(iter(self.guesses.values())).shape[1])

    def full_depth(self) -> Float[Tensor, "b c"]:
        """Return the logits of the last head."""
        return self.guesses[self.last] if self.full_BC is None else self.full_BC


class ScaledGradient(torch.autograd.Function):
    """The identity, whose gradient is multiplied by a factor."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0] * ctx.factor, None


def scaled_gradient(packed: Packed, factor: float) -> Packed:
    """Return the same vectors with their gradient multiplied by `factor`; 0 stops it."""
    if factor == 1.0:
        return packed
    if factor == 0.0:
        return packed.with_x(packed.x_ND.detach())
    return packed.with_x(ScaledGradient.apply(packed.x_ND, factor))  # type: ignore[arg-type]
