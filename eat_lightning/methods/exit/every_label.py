"""Exit when every label of a multi-label example is certain: min_c max(p_c, 1 - p_c) >= tau.

p_c is the sigmoid of an exit's logit for label c, divided by the exit's temperature. A single
uncertain label keeps the example, because the answer is the whole set. No training is needed.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor

from eat_lightning.answer_kind import MULTI
from eat_lightning.methods.exit._points import ByPoint, ExitLayers
from eat_lightning.model.contracts import Knob
from eat_lightning.model.contracts.exit import Guesses, Signals
from eat_lightning.model.method import method
from eat_lightning.validation import Points


@method("exit")
class EveryLabel(ByPoint):
    """Exits if every label is certain.

    Args:
        tau: minimum of max(p, 1 - p) for each label, in (0, 1], or a list with one for each of
            `layers`. At 1 no example exits early, at 0.5 all do.
    """

    tau: Points = 0.9
    layers: ExitLayers = (4,)

    kinds = (MULTI,)
    last_only = True
    reasons = ("every_label_sure",)
    knob = Knob(
        "tau",
        strict=1.0,
        grid=(0.99, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5),
        fine=(0.999, 0.998, 0.995, *(round(0.99 - 0.01 * k, 2) for k in range(50))),
        bounds=Annotated[float, Field(gt=0, le=1)],
    )

    def _value(self, logits_EBC: Guesses, signals_EBS: Signals) -> Tensor:
        """The probability of the likelier side of the label that is least sure."""
        return logits_EBC[-1].float().abs().amin(-1).sigmoid()
