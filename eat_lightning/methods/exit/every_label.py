"""Leave when every label is sure, where an example has several: min_c max(p_c, 1 - p_c) >= tau.

p_c is the sigmoid of an exit's logit for label c, divided by the exit's temperature. One label that
may still come or go keeps the example: its set is the answer. No training is needed.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from eat_lightning.answer_kind import MULTI
from eat_lightning.methods.exit._points import ExitLayers, least_at
from eat_lightning.model.contracts import ExitRule, Knob
from eat_lightning.model.contracts.exit import Decision, Guesses, Signals
from eat_lightning.model.method import method
from eat_lightning.validation import Points


@method("exit")
class EveryLabel(ExitRule):
    """Leaves where every label is sure.

    Args:
        tau: the least probability of each label's likelier side, in (0, 1] (a list: one for each of
            `layers`). At 1 nobody leaves, at 0.5 all do.
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
        bounds="(0, 1]",
    )

    def decides(self, logits_EBC: Guesses, signals_EBS: Signals = None) -> Decision:
        return (least_sure(logits_EBC[-1]) >= least_at(self.tau, len(logits_EBC))).long()

    def margin(self, logits_EBC: Float[Tensor, "e b c"]) -> Float[Tensor, " b"]:
        """Tell how far the least sure label is from tau, where the decision would be another."""
        return (least_sure(logits_EBC[-1]) - least_at(self.tau, len(logits_EBC))).abs()


def least_sure(logits_BC: Float[Tensor, "b c"]) -> Float[Tensor, " b"]:
    """The probability of the likelier side of the label that is least sure."""
    return logits_BC.float().abs().amin(-1).sigmoid()
