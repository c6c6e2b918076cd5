"""Exit when a score is predicted to be close to the last layer's (Early-Exit COMET, 2502.14429).

Each early head predicts two numbers: the score z_e and its distance u_e from the last layer's
score. An example exits if u_e < bound or, with cuts c, if u_e < bound x min_c |z_e - c|: then z_e
+- u_e / bound lies on one side of each cut, which is all that matters to a filter.

In the paper, heads predict the error with respect to a human score, and bandits choose among
candidates. Here the target is the last layer's score, so no labels are needed.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from eat_lightning.answer_kind import SCORE
from eat_lightning.methods.exit._points import ExitLayers, point_at
from eat_lightning.model.contracts import ExitRule, Knob
from eat_lightning.model.contracts.exit import Decision, Guesses, Signals
from eat_lightning.model.method import method
from eat_lightning.validation import NotNegative, Points

STEPS = (1.0, 1.2, 1.5, 2.0, 2.5, 3.2, 4.0, 5.0, 6.5, 8.0)


@method("exit")
class PredictedError(ExitRule):
    """Exits if the score is predicted to be close to the last layer's.

    Args:
        bound: maximum predicted error for an exit, in the score's unit or, with cuts, as a share of
            the distance to the nearest cut; or a list with one for each of `layers`. At 0 no
            example exits early.
        cuts: decision thresholds of the score, usually the task's.
    """

    bound: Points = 0.1
    layers: ExitLayers = (4,)
    cuts: Sequence[float] = ()

    kinds = (SCORE,)
    wants_error = last_only = True
    reasons = ("small_error",)
    knob = Knob(
        "bound",
        strict=0.0,
        grid=(0.02, 0.05, 0.1, 0.2, 0.5, 1.0),
        fine=tuple(round(m * 10.0**k, 4) for k in range(-3, 3) for m in STEPS),  # for any scale
        bounds=NotNegative,
    )

    def decides(self, logits_EBC: Guesses, signals_EBS: Signals = None) -> Decision:
        error_B, most_B = self._error_and_most(logits_EBC)
        return (error_B < most_B).long()

    def margin(self, logits_EBC: Float[Tensor, "e b c"]) -> Float[Tensor, " b"]:
        """Tell how far a predicted error is from where the decision would be another."""
        error_B, most_B = self._error_and_most(logits_EBC)
        return (error_B - most_B).abs()

    def _error_and_most(self, logits_EBC: Tensor) -> tuple[Tensor, Tensor]:
        """The predicted error, and the least that is too large."""
        score_B, error_B = logits_EBC[-1, :, 0].float(), logits_EBC[-1, :, 1].float()
        room_B = torch.ones_like(score_B)
        if self.cuts:
            room_B = torch.stack([(score_B - cut).abs() for cut in self.cuts]).amin(0)
        return error_B.clamp(min=0), point_at(self.bound, len(logits_EBC)) * room_B
