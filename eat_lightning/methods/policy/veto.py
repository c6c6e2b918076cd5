"""A veto (EAT, section 10): if the margin is low, an exit needs a second, equal prediction.

Shapes: B examples, D of them doubtful, E exits so far, C classes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import Field
from scipy.special import softmax

from eat_lightning.answer_kind import SINGLE
from eat_lightning.model.method import method
from eat_lightning.model.policy import ModelFacts, Policy, PolicyInput
from eat_lightning.model.reason import Reason, leaves

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int

    from eat_lightning.model.contracts import ExitRule

AT_ONCE = 32  # examples that the second run answers together


@method("policy.veto")
class Veto(Policy):
    """Keeps examples with a low margin, unless a second prediction agrees.

    The second prediction is that of the previous exit; the first exit has none, so examples with a
    low margin stay there. With two classes, a tau of 0.9 already requires a margin of 0.8, and 0.95
    one of 0.9, so that lower margins have no effect (`idle_beside`).

    Args:
        margin: lead of the most likely class over the next, below which the second prediction
        decides.
        run: folder of a second run with the same labels and tokenizer, which gives the second
            prediction; its encoder is passed to `take_model`.
    """

    margin: Annotated[float, Field(gt=0, le=1)] = 0.9
    run: str | None = None

    kinds = (SINGLE,)
    of_this_machine = ("run",)  # no model folder may name it

    def rules(self, num_layers: int | None) -> Iterable[str]:
        if self.run is not None and not (Path(self.run) / "done.json").is_file():
            got = f"got {self.run!r} (no done.json in it)"
            yield f"policy.veto.run must name a finished run, {got}"

    def __post_init__(self) -> None:
        self.second: Any = None
        self.labels: list[str] = []

    def wants_model(self) -> Path | None:
        return None if self.run is None or self.second is not None else Path(self.run) / "model"

    def take_model(self, encoder: Any, labels: list[str]) -> None:
        self.second, self.labels = encoder, labels

    def fits(self, model: ModelFacts) -> list[str]:
        """Give a line for each thing of the second run that does not go with this one."""
        if self.run is None:
            return []
        where, theirs = f"policy.veto.run={self.run}", self.labels
        faults = []
        if list(model.labels) != theirs:
            ours = ", ".join(model.labels)
            faults.append(f"{where} has the labels {', '.join(theirs)}, not {ours}")
        ours, most = model.max_length, self.second.shape.max_length
        if ours is not None and most < ours:
            faults.append(f"{where} takes {most} tokens, this run {ours}")
        trained_rules = None if model.folder is None else rules(model.folder)
        if trained_rules is not None and (
            not trained_rules or trained_rules != rules(Path(self.run) / "model")
        ):
            faults.append(f"{where} has another tokenizer, or none that can be compared")
        return faults

    def idle_beside(self, exit: ExitRule) -> str | None:
        """Tell why it never holds anyone back beside this exit rule, if that is so."""
        least = exit.least_lead
        if least is None or least < self.margin:
            return None
        return (
            f"policy.veto.margin must be above {least:.3g}, got {self.margin}: whoever this exit "
            "rule lets go leads by that much, so the veto would never be heard"
        )

    def export_blockers(self) -> list[str]:
        message = (
            f"policy.veto.run={self.run} is a run in torch, which answers token ids of its own"
        )
        return (
            [] if self.run is None else [f"{message}: an export has no second voice but its exits"]
        )

    def reviews(
        self,
        reason_B: Int[np.ndarray, " b"],
        logits_EBC: Float[np.ndarray, "e b c"],
        inputs: PolicyInput,
        rows_B: Int[np.ndarray, " b"],
    ) -> Int[np.ndarray, " b"]:
        doubtful_B = leaves(reason_B) & (lead(logits_EBC) < self.margin)
        if self.run is None:
            vetoed_B = doubtful_B & ~two_agree(logits_EBC)
        else:
            vetoed_B = doubtful_B.copy()
            ours_D = logits_EBC[-1].argmax(-1)[doubtful_B]
            vetoed_B[doubtful_B] = ours_D != self._answers(inputs, rows_B[doubtful_B])
        return np.where(vetoed_B, int(Reason.VETOED), reason_B)

    def _answers(self, batch: Any, rows_D: Int[np.ndarray, " d"]) -> Int[np.ndarray, " d"]:
        """The classes that the second run gives to examples of a `Batch`."""
        import torch

        self.second.to(batch.ids_N.device)
        with torch.no_grad():
            parts = [
                self.second(batch.take(rows)).logits_BC.argmax(-1).cpu().numpy()
                for rows in torch.from_numpy(rows_D).split(AT_ONCE)
                if len(rows)
            ]
        return np.concatenate(parts) if parts else rows_D


def lead(logits_EBC: Float[np.ndarray, "e b c"]) -> Float[np.ndarray, " b"]:
    """The lead of the likeliest class over the next, at the last exit so far."""
    best_B2 = np.sort(softmax(logits_EBC[-1], axis=-1), axis=-1)[:, -2:]
    return best_B2[:, 1] - best_B2[:, 0]


def two_agree(logits_EBC: Float[np.ndarray, "e b c"]) -> Bool[np.ndarray, " b"]:
    """True where the last two exits so far give the same class; False at the first exit."""
    classes_EB = logits_EBC[-2:].argmax(-1)
    if len(classes_EB) < 2:
        return np.zeros(classes_EB.shape[1], bool)
    return classes_EB[0] == classes_EB[1]


def rules(folder: Path) -> Any:
    """Return a tokenizer's behaviour: its file without the settings left by the last call, {}
    without a file."""
    path = folder / "tokenizer.json"
    found = json.loads(path.read_text()) if path.is_file() else {}
    return {key: value for key, value in found.items() if key not in ("truncation", "padding")}
