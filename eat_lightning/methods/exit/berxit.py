"""Learning to exit (BERxiT, Xin et al. 2021): a small regressor decides when to exit.

One linear layer, shared by all exits, reads the pooled vector and learns the probability that the
exit is wrong: u_e = sigmoid(w pooled_e + b), trained by the squared error to 1 - [the exit's class
is right], at every exit, with gradients into the backbone. It needs no confidence and therefore
also works for regressions (target: tanh of the absolute error).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from eat_lightning.answer_kind import SCORE, SINGLE
from eat_lightning.methods.exit._points import ByPoint, ExitLayers
from eat_lightning.model.contracts import Knob
from eat_lightning.model.contracts.exit import Guess, Guesses, Observed, Pooled, Signal
from eat_lightning.model.method import method
from eat_lightning.model.packed import Packed
from eat_lightning.model.shape import Shape
from eat_lightning.model.training import Context
from eat_lightning.validation import Points, Positive, Share


@method("exit")
class LearningToExit(ByPoint, nn.Module):
    """Exits if a regressor predicts a low probability of an error.

    Args:
        threshold: maximum predicted uncertainty for an exit, or a list with one for each of
            `layers`.
        weight: weight of the regressor's loss relative to that of the exits.
    """

    threshold: Points = 0.1
    layers: ExitLayers = (4,)
    weight: Positive = 1.0

    kinds = (SINGLE, SCORE)
    reasons = ("learned",)
    knob = Knob(
        "threshold",
        strict=0.0,
        grid=(0.02, 0.05, 0.1, 0.2, 0.3, 0.4),
        fine=tuple(round(0.01 * k, 2) for k in range(1, 61)),
        bounds=Share,
    )

    def bind(self, shape: Shape, exits: Sequence[int], num_labels: int) -> None:
        self.regressor = nn.Linear(shape.hidden_size, 1)

    def observe(self, packed: Packed, pooled_BD: Pooled, logits_BC: Guess, layer: int) -> Signal:
        """Tell how likely this exit is wrong, 0 ... 1."""
        return torch.sigmoid(self.regressor(pooled_BD))

    def _value(self, logits_EBC: Guesses, signals_EBS: Observed) -> Tensor:
        return signals_EBS[-1, :, 0]

    def penalties(self, context: Context) -> dict[str, Tensor]:
        """The regressor's squared error, each example's sum over the exits."""
        error_B = torch.zeros_like(context.labels_B, dtype=torch.float32)
        for layer, logits_BC in context.guesses.items():
            wrong_B = how_wrong(logits_BC.detach().float(), context.labels_B)
            error_B = error_B + (context.signals[layer][:, 0].float() - wrong_B).square()
        return {"exit_signal": self.weight * error_B}

    def flops(self, shape: Shape, num_labels: int) -> float:
        return 2.0 * shape.hidden_size


def how_wrong(logits_BC: Float[Tensor, "b c"], labels_B: Tensor) -> Float[Tensor, " b"]:
    """1 where the class is another, else 0; of a regression tanh of the absolute error."""
    if logits_BC.shape[1] == 1:
        return torch.tanh((logits_BC[:, 0] - labels_B.float()).abs())
    return (logits_BC.argmax(-1) != labels_B).float()
