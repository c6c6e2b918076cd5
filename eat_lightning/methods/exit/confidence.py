"""EAT's exit (section 3.3): exit when the largest class probability reaches tau.

max_c p_c >= tau with p = softmax(z / T), z an exit's logits and T its fitted temperature. At tau 1
no example exits early.
"""

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field
from torch import Tensor

from eat_lightning.answer_kind import SINGLE
from eat_lightning.methods.exit._points import ByPoint, ExitLayers
from eat_lightning.model.contracts import Knob
from eat_lightning.model.contracts.exit import Guesses, Signals
from eat_lightning.model.method import method
from eat_lightning.validation import Points


@method("exit")
class Confidence(ByPoint):
    """Exits if the largest calibrated class probability reaches a threshold.

    Args:
        tau: in (0, 1], one for all exits or one for each of `layers`.
    """

    tau: Points = 0.9
    layers: ExitLayers = (4,)

    kinds = (SINGLE,)
    last_only = True
    reasons = ("confident",)
    # Confidence begins at 0.5 on two classes, at 0.33 on three: low taus are where most is saved.
    knob = Knob(
        "tau",
        strict=1.0,
        grid=(0.95, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.35),
        fine=(0.999, 0.998, 0.995, *(round(0.99 - 0.01 * k, 2) for k in range(66))),
        bounds=Annotated[float, Field(gt=0, le=1)],
        is_confidence=True,
    )

    @property
    def least_lead(self) -> float:
        """The least lead of the likeliest class of whoever leaves: the others share 1 - tau."""
        return 2 * min(self.tau if isinstance(self.tau, Sequence) else [self.tau]) - 1

    def _value(self, logits_EBC: Guesses, signals_EBS: Signals) -> Tensor:
        """The largest class probability."""
        return logits_EBC[-1].float().softmax(-1).amax(-1)
