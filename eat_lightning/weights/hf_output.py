"""The output of a model behind Hugging Face's interface.

Shapes: B examples, C classes, E exit heads.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor
from transformers.utils.generic import ModelOutput


@dataclass
class EatOutput(ModelOutput):
    """Logits, with depth and cost.

    `exit_logits` and `tokens` are attributes (and `output["tokens"]`) but not items, because
    pipelines slice every item along its first dimension, which must be the examples.

    Args:
        loss: mean over the examples; None without labels.
        logits: of the answers, (B, C), divided by the head's temperature; for a score without its
            error.
        depth: layers run, (B).
        exit_reason: codes of `eat_lightning.model.reason.Reason`, (B).
        exit_logits: logits of every exit, (E, B, C), a row for each of `config.head["layers"]`; NaN
            where a head was not evaluated, because the example had exited or the exit rule does not
            read that head.
        tokens: tokens entering each layer, (layers, B), 0 where it was not run.
    """

    loss: Tensor | None = None
    logits: Float[Tensor, "b c"] | None = None
    depth: Int[Tensor, " b"] | None = None
    exit_reason: Int[Tensor, " b"] | None = None
    exit_logits: Float[Tensor, "e b c"] | None = None
    tokens: Int[Tensor, "l b"] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("exit_logits", "tokens"):
            if name in self.keys():
                OrderedDict.__delitem__(self, name)

    def __getitem__(self, key: Any) -> Any:
        return getattr(self, key) if key in ("exit_logits", "tokens") else super().__getitem__(key)
