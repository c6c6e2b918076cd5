"""Confident Adaptive Transformers (Schuster et al. 2021): a small classifier at each exit learns
the probability that the exit agrees with the last layer, P(argmax z_e = argmax z_L). An example
exits if this probability is high.

It reads the exit's pooled vector, its class, its largest probability and its lead over the next
class, as in the paper except for the probabilities at earlier exits. It trains neither backbone nor
heads. Its target is consistency rather than correctness, so no labels are used. Temperatures are
fitted after training, so it then reads slightly softer or sharper probabilities than in training;
thresholds are chosen with these.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eat_lightning.answer_kind import SINGLE
from eat_lightning.methods.exit._points import ByPoint, ExitLayers
from eat_lightning.methods.exit._scores import lead
from eat_lightning.model.contracts import Knob
from eat_lightning.model.contracts.exit import Guess, Guesses, Observed, Pooled, Signal
from eat_lightning.model.method import method
from eat_lightning.model.packed import Packed
from eat_lightning.model.shape import Shape
from eat_lightning.model.training import Context
from eat_lightning.validation import Count, Points, Positive, Share


@method("exit")
class MetaConsistency(ByPoint, nn.Module):
    """Exits if a classifier predicts that the exit agrees with the last layer.

    Args:
        consistency: minimum predicted probability of agreement, or a list with one for each of
            `layers`.
        width: width of the hidden layer.
        weight: weight of the classifiers' loss relative to that of the exits.
    """

    consistency: Points = 0.9
    layers: ExitLayers = (4,)
    width: Count = 32
    weight: Positive = 1.0

    kinds = (SINGLE,)
    reasons = ("consistent",)
    knob = Knob(
        "consistency",
        strict=1.0,
        grid=(0.98, 0.95, 0.9, 0.8, 0.7, 0.6),
        fine=(0.999, 0.998, 0.995, *(round(0.99 - 0.01 * k, 2) for k in range(100))),
        bounds=Share,
    )

    def bind(self, shape: Shape, exits: Sequence[int], num_labels: int) -> None:
        features = num_read(shape, num_labels)
        self.meta = nn.ModuleDict(
            {
                str(layer): nn.Sequential(
                    nn.Linear(features, self.width), nn.Tanh(), nn.Linear(self.width, 1)
                )
                for layer in exits
            }
        )

    def observe(self, packed: Packed, pooled_BD: Pooled, logits_BC: Guess, layer: int) -> Signal:
        """Tell how likely the last layer says the same class, 0 ... 1."""
        p_BC = logits_BC.detach().float().softmax(-1)
        class_BC = F.one_hot(p_BC.argmax(-1), p_BC.shape[1])
        sure_B2 = torch.stack([p_BC.amax(-1), lead(logits_BC.detach())], 1)
        pooled_BD = pooled_BD.detach()
        read_BF = torch.cat([x.to(pooled_BD.dtype) for x in (pooled_BD, class_BC, sure_B2)], 1)
        return torch.sigmoid(self.meta[str(layer)](read_BF).float())

    def _value(self, logits_EBC: Guesses, signals_EBS: Observed) -> Tensor:
        return signals_EBS[-1, :, 0]

    def penalties(self, context: Context) -> dict[str, Tensor]:
        """Binary cross-entropy to whether an exit says the last layer's class, each example's sum
        over the early exits."""
        final_B = context.full_depth().argmax(-1)
        loss_B = torch.zeros_like(final_B, dtype=torch.float32)
        for layer, logits_BC in context.guesses.items():
            if layer < context.last:
                same_B = (logits_BC.argmax(-1) == final_B).float()
                likely_B = context.signals[layer][:, 0].float()
                loss_B = loss_B + F.binary_cross_entropy(likely_B, same_B, reduction="none")
        return {"exit_signal": self.weight * loss_B}

    def flops(self, shape: Shape, num_labels: int) -> float:
        return 2.0 * self.width * (num_read(shape, num_labels) + 1)


def num_read(shape: Shape, num_labels: int) -> int:
    """Features of a classifier: the pooled vector, the class, its probability and its lead."""
    return shape.hidden_size + num_labels + 2
