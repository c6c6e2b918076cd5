"""What a step of training hands to an objective, and gradients that are scaled on their way back.

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
    """Sums over the examples of a batch: `total` is what training descends, `parts` is for logs."""

    total: Tensor
    parts: dict[str, Tensor] = field(default_factory=dict)


@dataclass
class Context:
    """Data that a training step gives to an objective, and to a method's `penalties`.

    Args:
        guesses: logits by exit layer, those that count in this stage.
        labels_B: right answers.
        last: the last layer.
        teacher_BC: the teacher's logits; None where there is no teacher.
        signals: what the exit rule observed, B x S by layer.
        penalties: terms of each example by name.
        step: of the run, from 0.
        epoch: with the fraction of the one under way.
        stage: its number, from 0.
        hidden: the vectors after each layer (0: the embedding), for an objective that `wants` them.
        teacher_hidden: the teacher's, as wanted.
        scores: each layer's attention scores, as wanted.
        teacher_scores: the teacher's, as wanted.
        passes: guesses of the further passes that it requests.
        hidden_passes: their vectors.
        teacher_passes: traces of the teacher's further passes.
        full_BC: the last head's guess, also where it does not count.
        pools: vectors of heads that see earlier exits, by layer.
        strength: progress of the schedule, 0 ... 1.
        kind: of the answers.
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
        """The last head's guess."""
        return self.guesses[self.last] if self.full_BC is None else self.full_BC


class ScaledGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0] * ctx.factor, None


def scaled_gradient(packed: Packed, factor: float) -> Packed:
    """The same vectors, whose gradient is multiplied by `factor`; 0 stops it."""
    if factor == 1.0:
        return packed
    if factor == 0.0:
        return packed.with_x(packed.x_ND.detach())
    return packed.with_x(ScaledGradient.apply(packed.x_ND, factor))  # type: ignore[arg-type]
