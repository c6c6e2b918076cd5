"""DE3-BERT (He et al. 2024): exit when the entropy is low and the nearest class prototype is that
of the predicted class.

At each exit, the pooled vector is mapped to a space with a learned prototype for each class. With
the distance r1 to the prototype of the predicted class and the distance r2 to the nearest other
one, DR = (1 + (r1 - r2) / max(r1, r2)) / 2, and with the entropy H as a share of ln C, EDR =
(lambda + 1) / (lambda / DR + 1 / H), their weighted harmonic mean. An example exits if EDR is below
a threshold. DR and H lie between 0 and 1, and are small if the exit is probably right.

The space is trained with the cross-entropy of softmax(-distance^2) and `pull` times the squared
distance to the example's own prototype (Yang et al. 2018), instead of the paper's distance-aware
regularisation.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from eat_lightning.answer_kind import SINGLE
from eat_lightning.methods.exit._points import ByPoint, ExitLayers
from eat_lightning.methods.exit._scores import entropy
from eat_lightning.model.contracts import Knob
from eat_lightning.model.contracts.exit import Guess, Guesses, Observed, Pooled, Signal
from eat_lightning.model.method import method
from eat_lightning.model.packed import Packed
from eat_lightning.model.shape import Shape
from eat_lightning.model.training import Context
from eat_lightning.validation import Count, NotNegative, Points, Positive, Share


@method("exit")
class PrototypeDistance(ByPoint, nn.Module):
    """Exits if entropy and distance to the class prototype are low.

    Args:
        edr: maximum EDR for an exit, or a list with one for each of `layers`.
        share: lambda, the weight of the distances relative to the entropy.
        width: width of the space.
        weight: weight of its loss relative to that of the exits.
        pull: weight of the distance to the class prototype within that loss.
    """

    edr: Points = 0.2
    layers: ExitLayers = (4,)
    share: NotNegative = 1.0
    width: Count = 64
    weight: Positive = 1.0
    pull: NotNegative = 0.01

    kinds = (SINGLE,)
    by_class = True
    reasons = ("near_prototype",)
    knob = Knob(
        "edr",
        strict=0.0,
        grid=(0.02, 0.05, 0.1, 0.2, 0.3, 0.5),
        fine=(0.001, 0.002, 0.005, *(round(0.01 * k, 2) for k in range(1, 101))),
        bounds=Share,
    )

    def bind(self, shape: Shape, exits: Sequence[int], num_labels: int) -> None:
        names = [str(layer) for layer in exits]
        self.space = nn.ModuleDict({k: nn.Linear(shape.hidden_size, self.width) for k in names})
        scale = self.width**-0.5
        self.prototypes = nn.ParameterDict(
            {k: nn.Parameter(scale * torch.randn(num_labels, self.width)) for k in names}
        )

    def observe(self, packed: Packed, pooled_BD: Pooled, logits_BC: Guess, layer: int) -> Signal:
        """Distances to the prototypes."""
        at_BW, prototypes_CW = self.space[str(layer)](pooled_BD), self.prototypes[str(layer)]
        return torch.linalg.vector_norm(at_BW[:, None].float() - prototypes_CW.float(), dim=-1)

    def _value(self, logits_EBC: Guesses, signals_EBS: Observed) -> Tensor:
        ratio_B = distance_ratio(signals_EBS[-1], logits_EBC[-1].argmax(-1))
        entropy_B = entropy(logits_EBC[-1], normalised=True)
        return harmonic(ratio_B, entropy_B, self.share)

    def penalties(self, context: Context) -> dict[str, Tensor]:
        """Return the loss that trains the prototype space, for each example the sum over the
        exits."""
        loss_B = torch.zeros_like(context.labels_B, dtype=torch.float32)
        for layer in context.guesses:
            squared_BC = context.signals[layer].square()
            label_B = squared_BC.gather(1, context.labels_B[:, None])[:, 0]
            apart_B = F.cross_entropy(-squared_BC, context.labels_B, reduction="none")
            loss_B = loss_B + apart_B + self.pull * label_B
        return {"exit_signal": self.weight * loss_B}

    def flops(self, shape: Shape, num_labels: int) -> float:
        return 2.0 * shape.hidden_size * self.width


def distance_ratio(
    distance_BC: Float[Tensor, "b c"], class_B: Int[Tensor, " b"]
) -> Float[Tensor, " b"]:
    """DR: 0 on the prototype of the own class, 0.5 half-way to the nearest other, 1 on that."""
    guess_B1 = distance_BC.gather(1, class_B[:, None])
    is_guess_BC = F.one_hot(class_B, distance_BC.shape[1]).bool()
    other_B = distance_BC.masked_fill(is_guess_BC, float("inf")).amin(1)
    guess_B = guess_B1[:, 0]
    return 0.5 * (1 + (guess_B - other_B) / torch.maximum(guess_B, other_B).clamp(min=1e-12))


def harmonic(
    ratio_B: Float[Tensor, " b"], entropy_B: Float[Tensor, " b"], share: float
) -> Float[Tensor, " b"]:
    """EDR, written as a product over a sum, so that a 0 makes it 0."""
    total_B = (share * entropy_B + ratio_B).clamp(min=1e-12)
    return (share + 1) * ratio_B * entropy_B / total_B
