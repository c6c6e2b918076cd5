"""The sandwich rule with inplace distillation (Length-Adaptive Transformer, Kim and Cho 2021; Yu
and Huang 2019): one backbone learns to work with every strength of its reduction.

Each step trains the largest sub-model (without reduction) on the labels. The smallest one (with the
full reduction) and some random ones in between learn the answers of the largest at its last exit:
KL(largest || sub-model), without gradient into the target and with equal weights. With a ratio p at
every layer, the random ones keep a share, uniform in 1 - p ... 1, of the tokens that enter each
layer, which is the paper's LengthDrop.
"""

from __future__ import annotations

from typing import Annotated, Any

import torch
from pydantic import Field, NonNegativeInt
from torch import Tensor

from eat_lightning.answer_kind import AnswerKind
from eat_lightning.methods.objective._losses import with_penalties
from eat_lightning.model.contracts import Objective, Pass, Reduction, at_point, point_of
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.method import faults_of, method
from eat_lightning.model.training import Context, Loss


@method("objective")
class Sandwich(Objective):
    """Loss of the largest sub-model on labels, and of smaller ones on its answers.

    Any reduction with a knob has sub-models: those between its strict end and its current value. In
    each of them, all exits of the current stage are trained.

    Args:
        num_random: random sub-models per step (2 in the paper).
        layer_drop: probability that a random sub-model skips a layer (0.2 in the paper, which
            starts from a fine-tuned backbone).
        released: as in the authors' code, the divergence is reversed, KL(sub-model || largest).
    """

    num_random: NonNegativeInt = 2
    layer_drop: Annotated[float, Field(ge=0, lt=1)] = 0.0
    released: bool = False

    def fits(self, reduction: Reduction) -> list[str]:
        name = type(reduction).__module__.rpartition(".")[2]
        if reduction.knob is None:
            return [f"objective=sandwich varies a reduction, and {name} has nothing to vary"]
        if reduction.draws:  # lengthdrop: then nothing would be the smallest
            return [f"objective=sandwich draws by itself: reduction.draws must be false for {name}"]
        return []

    def passes(self, step: int, encoder: AdaptiveEncoder) -> list[Pass]:
        """The largest sub-model, then random ones; the step's own pass is the smallest."""
        reduction, knob = encoder.reduction, encoder.reduction.knob
        assert knob is not None  # `fits` refuses a reduction without one
        largest = Pass(at_point(reduction, knob.strict))
        return [largest, *(self._between(encoder) for _ in range(self.num_random))]

    def _between(self, encoder: AdaptiveEncoder) -> Pass:
        """A random sub-model; the trainer seeds each step."""
        drawn = at_point(encoder.reduction, point_between(encoder.reduction))
        skipped = (torch.rand(encoder.shape.num_layers) < self.layer_drop).nonzero().flatten() + 1
        return Pass(drawn, frozenset(skipped.tolist()))

    def _apart(self, kind: AnswerKind, sub_BC: Tensor, target_BC: Tensor) -> Tensor:
        """KL(largest || sub-model), or the reverse as released."""
        pair = (target_BC, sub_BC) if self.released else (sub_BC, target_BC)
        return kind.divergence(*pair, 1.0)

    def __call__(self, context: Context) -> Loss:
        largest, *between = context.passes
        smaller = [context.guesses, *between]
        target_BC = largest[context.last].detach()
        kind, labels_B = context.kind, context.labels_B
        parts = {f"exit_{k}": kind.loss(largest[k], labels_B) for k in context.guesses}
        for k in context.guesses:
            learned = [self._apart(kind, sub[k], target_BC) for sub in smaller]
            parts[f"inplace_{k}"] = torch.stack(learned).sum()
        total = torch.stack([*parts.values()]).sum() / (1 + len(smaller))
        return with_penalties(total, parts, context)


def point_between(reduction: Reduction) -> float | list[float]:
    """A point of its knob between the strict end and where it stands, one for each of its layers
    where it takes several."""
    knob, point = reduction.knob, point_of(reduction)
    assert knob is not None
    ends: Any = point if isinstance(point, list | tuple) else [point] * len(reduction.layers)
    shares = torch.rand(len(ends)).tolist()
    points = [knob.strict + u * (end - knob.strict) for u, end in zip(shares, ends, strict=True)]
    return points[0] if faults_of(at_point(reduction, points), None) else points
