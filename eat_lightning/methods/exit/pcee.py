"""PCEE-BERT (Zhang et al. 2022): exit when several consecutive exits predict the same class, each
with H / ln C below a threshold (entropy H, C classes)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from eat_lightning.answer_kind import SINGLE
from eat_lightning.methods.exit._points import ExitLayers, point_at
from eat_lightning.methods.exit._scores import entropy, lead, mean_guess
from eat_lightning.model.contracts import ExitRule, Knob
from eat_lightning.model.contracts.exit import Decision, Guesses, Signals
from eat_lightning.model.method import method
from eat_lightning.validation import Count, Points, Share


@method("exit")
class PatientConfident(ExitRule):
    """Exits when several consecutive exits are confident of the same class.

    Args:
        uncertainty: maximum entropy of a confident exit as a share of ln C, or a list with one for
            each of `layers`, which then also applies to the exits before it.
        patience: number of consecutive exits.
        answer: the `last` prediction, or the mean probabilities of those `patient` exits or of
            `all` exits so far.
        released: as in the authors' code, the exits need not agree.
    """

    uncertainty: Points = 0.2
    layers: ExitLayers = (3, 4)
    patience: Count = 2
    answer: Literal["last", "patient", "all"] = "last"
    released: bool = False

    kinds = (SINGLE,)
    reasons = ("patient_and_confident",)
    knob = Knob(
        "uncertainty",
        strict=0.0,
        grid=(0.02, 0.05, 0.1, 0.2, 0.3, 0.5),
        fine=(0.001, 0.002, 0.005, *(round(0.01 * k, 2) for k in range(1, 101))),
        bounds=Share,
    )

    def rules(self, num_layers: int | None) -> Iterable[str]:
        if len(self.layers) < self.patience:
            yield f"exit.layers must name {self.patience} or more layers, got {list(self.layers)}"

    def decides(self, logits_EBC: Guesses, signals_EBS: Signals = None) -> Decision:
        recent_EBC = logits_EBC[-self.patience :]
        if len(recent_EBC) < self.patience:
            return torch.zeros(logits_EBC.shape[1], dtype=torch.int64, device=logits_EBC.device)
        point = point_at(self.uncertainty, len(logits_EBC))
        goes_B = (entropy(recent_EBC, normalised=True) < point).all(0)
        if not self.released:
            classes_EB = recent_EBC.argmax(-1)
            goes_B = goes_B & (classes_EB == classes_EB[-1]).all(0)
        return goes_B.long()

    def answers(self, logits_EBC: Float[Tensor, "e b c"]) -> Float[Tensor, "b c"]:
        """Return the answers at the last exit so far: its guess, or the mean of the last or all
        exits. Examples that run every layer are answered in the same way."""
        if self.answer == "last":
            return logits_EBC[-1]
        return mean_guess(logits_EBC if self.answer == "all" else logits_EBC[-self.patience :])

    def margin(self, logits_EBC: Float[Tensor, "e b c"]) -> Float[Tensor, " b"]:
        """The least distance of an entropy from the threshold, and of a class from its next."""
        recent_EBC = logits_EBC[-self.patience :]
        entropy_EB = entropy(recent_EBC, normalised=True)
        far_EB = (entropy_EB - point_at(self.uncertainty, len(logits_EBC))).abs()
        return torch.minimum(far_EB, lead(recent_EBC)).amin(0)

    def export_blockers(self) -> list[str]:
        if self.answer == "last":
            return []
        return [f"exit=pcee answers from several exits (answer: {self.answer}), a graph from one"]
