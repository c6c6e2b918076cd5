"""CAP (He et al. 2025, 2506.17249): exit if little of the head's vector lies outside of what its
weights use.

With z the pooled vector and W, b of the head's last layer, z' = z + W^+ b, so that W z' = W z + b,
and P projects onto the rows of W. The share of z' outside is NSP = sqrt(1 - |P z'|^2 / |z'|^2), and
CAP is the last entry of softmax([logits, alpha x NSP]): an example exits if it is below a
threshold. No training is needed. Here, logits are divided by the temperature of the head.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from eat_lightning.answer_kind import SINGLE
from eat_lightning.methods.exit._points import ByPoint, ExitLayers
from eat_lightning.model.contracts import Head, Knob
from eat_lightning.model.contracts.exit import Guess, Guesses, Observed, Pooled, Signal
from eat_lightning.model.method import method
from eat_lightning.model.packed import Packed
from eat_lightning.model.shape import Shape
from eat_lightning.validation import Points, Positive, Share


@method("exit")
class CertaintyAware(ByPoint):
    """Exits if little of the head's vector lies outside of what its weights use.

    Args:
        cap: maximum for an exit, or a list with one for each of `layers`.
        alpha: scale of NSP relative to the logits; 0.1 in the authors' script.
    """

    cap: Points = 0.1
    layers: ExitLayers = (4,)
    alpha: Positive = 1.0

    heads: Mapping[int, Any] = field(init=False, repr=False, compare=False, default_factory=dict)

    kinds = (SINGLE,)
    last_only = True
    by_difference = False  # the appended logit is on the scale of the others
    reasons = ("certain",)
    knob = Knob(
        "cap",
        strict=0.0,
        grid=(0.01, 0.02, 0.05, 0.1, 0.2, 0.3),
        fine=(0.001, 0.002, 0.005, *(round(0.01 * k, 2) for k in range(1, 101))),
        bounds=Share,
    )

    def join(self, heads: Mapping[int, Head]) -> None:
        self.heads = heads

    def observe(self, packed: Packed, pooled_BD: Pooled, logits_BC: Guess, layer: int) -> Signal:
        """Return the share that the head's weights do not see, 0 ... 1."""
        classes = self.heads[layer].classes
        return unseen_share(pooled_BD.detach(), classes.weight.detach(), classes.bias.detach())

    def _value(self, logits_EBC: Guesses, signals_EBS: Observed) -> Tensor:
        """CAP: the probability of the appended logit."""
        appended_BC = torch.cat([logits_EBC[-1].float(), self.alpha * signals_EBS[-1].float()], -1)
        return appended_BC.softmax(-1)[:, -1]

    def flops(self, shape: Shape, num_labels: int) -> float:
        """Count W W^T, the shift W^+ b, W z' and the norm of its projection."""
        head, classes = next(iter(self.heads.values()), None), num_labels
        width = shape.hidden_size if head is None else head.classes.in_features
        return 4.0 * classes * width + 2.0 * classes**2 * width + 4.0 * classes**2


def unseen_share(
    pooled_BD: Float[Tensor, "b d"], weight_CD: Float[Tensor, "c d"], bias_C: Float[Tensor, " c"]
) -> Float[Tensor, "b 1"]:
    """NSP. |P z'|^2 = s (W W^T)^+ s with s = W z', so that no D x D matrix is needed."""
    weight_CD, bias_C = weight_CD.double(), bias_C.double()
    inverse_CC = torch.linalg.pinv(weight_CD @ weight_CD.T, hermitian=True)
    moved_BD = pooled_BD.double() + bias_C @ inverse_CC @ weight_CD
    seen_BC = moved_BD @ weight_CD.T
    inside_B = ((seen_BC @ inverse_CC) * seen_BC).sum(-1)
    whole_B = moved_BD.square().sum(-1).clamp(min=1e-30)
    return (1 - inside_B / whole_B).clamp(0, 1).sqrt()[:, None].to(pooled_BD.dtype)
