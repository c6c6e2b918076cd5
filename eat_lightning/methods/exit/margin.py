"""Leave when the likeliest class leads the next by enough: p_(1) - p_(2) >= lead, the softmax
response of CALM (Schuster et al. 2022)."""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Float, Int
from torch import Tensor

from eat_lightning.bounds import raise_faults
from eat_lightning.methods.exit import _scores
from eat_lightning.methods.exit._points import point_at, point_faults
from eat_lightning.model.contracts import Knob


class Margin:
    """lead: an example leaves where the likeliest class leads by so much (a list: one for each of
    `layers`). On two classes it is `confidence` with tau (1 + lead) / 2; on more it differs."""

    classes_only = True
    reasons = ("clear_lead",)
    knob = Knob(
        "lead",
        strict=1.0,
        grid=(0.9, 0.8, 0.6, 0.4, 0.2, 0.1),
        fine=(0.999, 0.998, 0.995, *(round(0.99 - 0.01 * k, 2) for k in range(100))),
        bounds="[0, 1]",
    )

    def __init__(self, lead: float | Sequence[float] = 0.8, layers: Sequence[int] = (4,)):
        raise_faults(self.faults(None, lead, layers))
        self.lead, self.layers = lead, list(layers)

    @classmethod
    def faults(
        cls,
        num_layers: int | None,
        lead: float | Sequence[float] = 0.8,
        layers: Sequence[int] = (4,),
    ) -> list[str]:
        return point_faults(cls.knob, lead, layers, num_layers)

    @property
    def least_lead(self) -> float:
        """The least lead of whoever leaves."""
        return min(self.lead if isinstance(self.lead, Sequence) else [self.lead])

    def decides(self, logits_EBC: Float[Tensor, "e b c"]) -> Int[Tensor, " b"]:
        return (_scores.lead(logits_EBC[-1]) >= point_at(self.lead, len(logits_EBC))).long()

    def margin(self, logits_EBC: Float[Tensor, "e b c"]) -> Float[Tensor, " b"]:
        """How far a lead is from where the decision would be another."""
        return (_scores.lead(logits_EBC[-1]) - point_at(self.lead, len(logits_EBC))).abs()
