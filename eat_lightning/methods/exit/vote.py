"""Voting (Sun et al. 2021, "Early Exiting with Ensemble Internal Classifiers"): every exit so far
votes for its class. An example exits when the leading class has enough votes, and that class is the
answer: max_c sum_e [argmax p_e = c] >= votes, over the exits e so far."""

from __future__ import annotations

from typing import Annotated

import torch.nn.functional as F
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor

from eat_lightning.answer_kind import SINGLE
from eat_lightning.methods.exit._points import ByPoint, ExitLayers
from eat_lightning.model.contracts import Knob
from eat_lightning.model.contracts.exit import Guesses, Signals
from eat_lightning.model.method import method
from eat_lightning.validation import Points


@method("exit")
class Vote(ByPoint):
    """Exits when the leading class has enough votes from the exits so far.

    Args:
        votes: number of votes needed, or a list with one for each of `layers`; fractions are
            rounded up. Examples that run every layer get the leading class too.
    """

    votes: Points = 2
    layers: ExitLayers = (2, 3, 4)

    kinds = (SINGLE,)
    reasons = ("voted",)
    # 24 votes cannot be had before the last of 24 layers, the deepest backbone that is at hand.
    knob = Knob(
        "votes",
        strict=24,
        grid=(6, 5, 4, 3, 2),
        fine=(*range(23, 0, -1),),
        bounds=Annotated[float, Field(ge=1)],
    )

    def _value(self, logits_EBC: Guesses, signals_EBS: Signals) -> Tensor:
        return votes_for(logits_EBC).amax(-1)

    def answers(self, logits_EBC: Float[Tensor, "e b c"]) -> Float[Tensor, "b c"]:
        """The mean probabilities of the exits that voted for the leading class, as logits. Of
        classes with equal votes the one leads that is likelier over all exits."""
        p_EBC = logits_EBC.float().softmax(-1)
        votes_BC = votes_for(logits_EBC)
        leader_B = (votes_BC + 0.5 * p_EBC.mean(0)).argmax(-1)
        for_EB1 = (p_EBC.argmax(-1) == leader_B)[..., None]
        mean_BC = (p_EBC * for_EB1).sum(0) / for_EB1.sum(0)
        return mean_BC.clamp(min=1e-30).log().to(logits_EBC.dtype)

    def export_blockers(self) -> list[str]:
        return ["exit=vote answers with the class that several exits chose, a graph with its own"]


def votes_for(logits_EBC: Float[Tensor, "e b c"]) -> Int[Tensor, "b c"]:
    """Tell how many of the exits say each class."""
    return F.one_hot(logits_EBC.argmax(-1), logits_EBC.shape[-1]).sum(0)
