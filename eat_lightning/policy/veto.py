"""A veto (EAT, section 10): where the margin is low, an answer needs a second voice to leave.

Shapes: B examples, D of them doubtful, E exits so far, C classes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from eat_lightning.exit._reason import Reason, leaves
from eat_lightning.packed import Batch
from eat_lightning.slots import Reduction, Wish, number_faults, raise_faults

AT_ONCE = 32  # examples that the second run answers together


class Veto:
    """`margin`: lead of the likeliest class over the next, below which the second voice is heard.
    It is the exit before, which the first exit has not, so that there a low margin stays; or the
    answer of the second run whose folder `run` names, of the same labels and tokenizer."""

    classes_only = True
    of_this_machine = ("run",)  # no model folder may name it

    def __init__(self, margin: float = 0.2, run: str | None = None):
        raise_faults(self.faults(None, margin, run))
        self.margin, self.run = margin, run
        self.second: Any = None  # the encoder of `run`, once it was asked
        self.labels: list[str] = []

    @classmethod
    def faults(cls, num_layers: int | None, margin: float = 0.2, run: Any = None) -> list[str]:
        faults = number_faults("policy.veto.margin", [margin], "(0, 1]")
        if run is not None and not (isinstance(run, str) and (Path(run) / "done.json").is_file()):
            faults.append(f"policy.veto.run={run} is no finished run (no done.json in it)")
        return faults

    def fits(self, encoder: Any, labels: Sequence[str], folder: Path | None) -> list[str]:
        """What is wrong with the second run beside this one (`folder`: its model's)."""
        if self.run is None:
            return []
        theirs = self.load()
        where = f"policy.veto.run={self.run}"
        faults = []
        if list(labels) != theirs:
            faults.append(f"{where} has the labels {', '.join(theirs)}, not {', '.join(labels)}")
        ours, most = encoder.shape.max_length, self.second.shape.max_length
        if most < ours:
            faults.append(f"{where} takes {most} tokens, this run {ours}")
        own = None if folder is None else rules(folder)
        if own is not None and (not own or own != rules(Path(self.run) / "model")):
            faults.append(f"{where} has another tokenizer, or none that can be compared")
        return faults

    def wishes(self, batch: Batch, reduction: Reduction | None) -> Wish:
        return Wish()

    def reviews(
        self,
        reason_B: Int[Tensor, " b"],
        logits_EBC: Float[Tensor, "e b c"],
        batch: Batch,
        rows_B: Int[Tensor, " b"],
    ) -> Int[Tensor, " b"]:
        doubtful_B = leaves(reason_B) & (lead(logits_EBC).cpu() < self.margin)
        if self.run is None:
            vetoed_B = doubtful_B & ~two_agree(logits_EBC).cpu()
        else:
            vetoed_B = doubtful_B.clone()
            ours_D = logits_EBC[-1].argmax(-1).cpu()[doubtful_B]
            vetoed_B[doubtful_B] = ours_D != self.answers(batch, rows_B[doubtful_B])
        return torch.where(vetoed_B, int(Reason.VETOED), reason_B)

    def load(self) -> list[str]:
        """The second run's encoder, once; returns its labels."""
        if self.second is None:
            from eat_lightning.checkpoint import load_model

            self.second, self.labels = load_model(Path(str(self.run)) / "model")
        return self.labels

    def answers(self, batch: Batch, rows_D: Int[Tensor, " d"]) -> Int[Tensor, " d"]:
        """The classes that the second run gives to examples of a batch, on the host."""
        self.load()
        self.second.to(batch.ids_N.device)
        with torch.no_grad():
            parts = [
                self.second(batch.take(rows)).logits_BC.argmax(-1).cpu()
                for rows in rows_D.split(AT_ONCE)
                if len(rows)
            ]
        return torch.cat(parts) if parts else rows_D


def lead(logits_EBC: Float[Tensor, "e b c"]) -> Float[Tensor, " b"]:
    """Of the likeliest class over the next, at the last exit so far."""
    best_B2 = logits_EBC[-1].float().softmax(-1).topk(2).values
    return best_B2[:, 0] - best_B2[:, 1]


def two_agree(logits_EBC: Float[Tensor, "e b c"]) -> Bool[Tensor, " b"]:
    """Whether the exit before says the same class; the first exit has none before."""
    classes_EB = logits_EBC[-2:].argmax(-1)
    if len(classes_EB) < 2:
        return torch.zeros_like(classes_EB[0], dtype=torch.bool)
    return classes_EB[0] == classes_EB[1]


def rules(folder: Path) -> Any:
    """Of a tokenizer: all of its file but what the last call left in it; {} where there is none."""
    path = folder / "tokenizer.json"
    found = json.loads(path.read_text()) if path.is_file() else {}
    return {key: value for key, value in found.items() if key not in ("truncation", "padding")}
