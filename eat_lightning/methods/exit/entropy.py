"""Exit when the entropy H = - sum_c p_c ln p_c of the class probabilities is low.

BranchyNet (Teerapittayanon et al. 2016) and DeeBERT (Xin et al. 2020) exit if H < S, in nats;
FastBERT (Liu et al. 2020) if the uncertainty H / ln C < speed, with C classes.
"""

from __future__ import annotations

from torch import Tensor

from eat_lightning.answer_kind import SINGLE
from eat_lightning.methods.exit import _scores
from eat_lightning.methods.exit._points import ByPoint, ExitLayers
from eat_lightning.model.contracts import Knob
from eat_lightning.model.contracts.exit import Guesses, Signals
from eat_lightning.model.method import method
from eat_lightning.validation import NotNegative, Points


@method("exit")
class Entropy(ByPoint):
    """Exits if the entropy of the class probabilities is low.

    Args:
        entropy: maximum entropy for an exit, or a list with one for each of `layers`.
        normalised: entropy as a share of ln C, its maximum; otherwise in nats (at most ln 2 = 0.693
            with two classes).
    """

    entropy: Points = 0.3
    layers: ExitLayers = (4,)
    normalised: bool = False

    kinds = (SINGLE,)
    last_only = True
    reasons = ("low_entropy",)
    knob = Knob(
        "entropy",
        strict=0.0,
        grid=(0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6),
        fine=(
            *(0.001, 0.002, 0.005),
            *(round(0.01 * k, 2) for k in range(1, 111)),
            *(1.2, 1.4, 1.6, 2.0, 3.0, 5.0),  # up to 148 classes
        ),
        bounds=NotNegative,
    )

    def _value(self, logits_EBC: Guesses, signals_EBS: Signals) -> Tensor:
        return _scores.entropy(logits_EBC[-1], self.normalised)
