"""Exit when the most likely class leads the next by enough: p_(1) - p_(2) >= lead, the softmax
response of CALM (Schuster et al. 2022)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from eat_lightning.answer_kind import SINGLE
from eat_lightning.methods.exit import _scores
from eat_lightning.methods.exit._points import ByPoint, ExitLayers
from eat_lightning.model.contracts import Knob
from eat_lightning.model.contracts.exit import Guesses, Signals
from eat_lightning.model.method import method
from eat_lightning.validation import Points, Share


@method("exit")
class Margin(ByPoint):
    """Exits if the most likely class leads the next by enough.

    Args:
        lead: minimum lead for an exit, or a list with one for each of `layers`; at 1 no example
            exits early. With two classes it equals `confidence` with tau (1 + lead) / 2; with more
            it differs.
    """

    lead: Points = 0.8
    layers: ExitLayers = (4,)

    kinds = (SINGLE,)
    last_only = True
    reasons = ("clear_lead",)
    knob = Knob(
        "lead",
        strict=1.0,
        grid=(0.9, 0.8, 0.6, 0.4, 0.2, 0.1),
        fine=(0.999, 0.998, 0.995, *(round(0.99 - 0.01 * k, 2) for k in range(100))),
        bounds=Share,
    )

    @property
    def least_lead(self) -> float:
        """The least lead of whoever leaves."""
        return min(self.lead if isinstance(self.lead, Sequence) else [self.lead])

    def _value(self, logits_EBC: Guesses, signals_EBS: Signals) -> Tensor:
        return _scores.lead(logits_EBC[-1])
