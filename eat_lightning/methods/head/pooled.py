"""BERT's classifier (Devlin et al. 2019) at an exit: pool, dense, activation, dropout, classes; or
ModernBERT's (Warner et al. 2024), with a norm behind the activation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from typing import Annotated, Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from eat_lightning.model.contracts import Head
from eat_lightning.model.heads import ACTIVATIONS, POOLS
from eat_lightning.model.method import method
from eat_lightning.model.packed import Packed
from eat_lightning.validation import OneOf


@method("head")
class Pooled(Head):
    """pool: "cls" or "mean" (each vector weighed by the tokens it stands for). activation: of the
    dense layer; None: there is no dense layer. norm: a LayerNorm behind the activation. Dense layer
    and norm have biases where the encoder's have.

    temperature: fitted after training (Guo et al. 2017) and saved; guesses are divided by it.
    """

    pool: Annotated[str, OneOf(*POOLS)] = "cls"
    activation: Annotated[str | None, OneOf(*ACTIVATIONS, null=True)] = "tanh"
    norm: bool = False

    temperature: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.act = ACTIVATIONS[self.activation] if self.activation else None
        self.register_buffer("temperature", torch.ones(()))

    def bind(self, shape: Any, exits: Sequence[int], num_labels: int) -> None:
        width = shape.hidden_size
        bias = shape.biases
        self.dense = nn.Linear(width, width, bias=bias) if self.activation else None
        self.normed = nn.LayerNorm(width, eps=shape.eps, bias=bias) if self.norm else None
        self.dropout = nn.Dropout(shape.dropout)
        self.classes = nn.Linear(width, num_labels)

    def pooled(self, packed: Packed) -> Float[Tensor, "b d"]:
        """One vector an example, after the dense layer if there is one."""
        pooled_BD = POOLS[self.pool](packed)
        if self.dense is not None and self.act is not None:
            pooled_BD = self.act(self.dense(pooled_BD))
        return pooled_BD if self.normed is None else self.normed(pooled_BD)

    def guess(self, pooled_BD: Float[Tensor, "b d"]) -> Float[Tensor, "b c"]:
        """Calibrated logits."""
        if self.training:
            pooled_BD = self.dropout(pooled_BD)
        return self.classes(pooled_BD) / self.temperature

    def forward(self, packed: Packed) -> Float[Tensor, "b c"]:
        return self.guess(self.pooled(packed))

    def flops(self, shape: Any, num_labels: int, tokens_B: np.ndarray) -> float:
        """Cost of one guess; pooling is left out."""
        width = shape.hidden_size
        return 2.0 * ((width**2 if self.activation else 0) + width * num_labels)
