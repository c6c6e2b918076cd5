"""Exit heads: from the vectors of an example to a guess.

Shapes: B examples, N packed tokens, D width, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from eat_lightning.bounds import layer_faults
from eat_lightning.model.contracts import Exit
from eat_lightning.model.packed import Packed

ACTIVATIONS = {
    "tanh": torch.tanh,
    "relu": F.relu,
    "gelu": F.gelu,
    "gelu_new": partial(F.gelu, approximate="tanh"),
    "silu": F.silu,
}


class Head(nn.Module):
    """An exit head: pool ([CLS] or mean), dense with `activation` (or none), dropout, classes.

    temperature: fitted after training (Guo et al. 2017) and saved; guesses are divided by it.
    """

    temperature: Tensor

    def __init__(
        self, width: int, num_labels: int, pool: str, activation: str | None, dropout: float
    ):
        super().__init__()
        self.pool = pool
        self.dense = nn.Linear(width, width) if activation else None
        self.act = ACTIVATIONS[activation] if activation else None
        self.dropout = nn.Dropout(dropout)
        self.classes = nn.Linear(width, num_labels)
        self.register_buffer("temperature", torch.ones(()))

    def forward(self, packed: Packed) -> Float[Tensor, "b c"]:
        pooled_BD = POOLS[self.pool](packed)
        if self.dense is not None and self.act is not None:
            pooled_BD = self.act(self.dense(pooled_BD))
        return self.classes(self.dropout(pooled_BD)) / self.temperature


def pool_cls(packed: Packed) -> Float[Tensor, "b d"]:
    return packed.x_ND.index_select(0, packed.layout.offsets_B)


def pool_mean(packed: Packed) -> Float[Tensor, "b d"]:
    """Mean over an example's vectors, each weighed by how many tokens it stands for."""
    layout = packed.layout
    if layout.even and packed.size_N is None:
        return layout.pad(packed.x_ND).mean(1)
    size_N = torch.ones_like(packed.x_ND[:, 0]) if packed.size_N is None else packed.size_N
    total_BD = packed.x_ND.new_zeros(layout.size, packed.x_ND.shape[1])
    total_BD = total_BD.index_add(0, layout.segment_N, packed.x_ND * size_N[:, None])
    count_B = size_N.new_zeros(layout.size).index_add(0, layout.segment_N, size_N)
    return total_BD / count_B[:, None]


POOLS = {"cls": pool_cls, "mean": pool_mean}


def head_faults(
    num_layers: int | None,
    layers: Any = (),
    pool: Any = "cls",
    activation: Any = "tanh",
) -> list[str]:
    """Of a head's settings, whatever a config or a file gives for them."""
    faults = layer_faults("head.layers", layers, num_layers)
    if not isinstance(pool, str) or pool not in POOLS:
        faults.append(f"head.pool must be one of {', '.join(POOLS)}, got {pool!r}")
    known_one = isinstance(activation, str) and activation in ACTIVATIONS
    if activation is not None and not known_one:
        known = ", ".join(ACTIVATIONS)
        faults.append(f"head.activation must be one of {known} or null, got {activation!r}")
    return faults


def slot_faults(exit: Exit, heads: Sequence[int], num_layers: int, num_labels: int) -> list[str]:
    """What one slot needs of the others."""
    missing = [k for k in exit.layers if k not in {*heads, num_layers}]
    faults = [f"exit.layers must have exit heads (at {list(heads)}), got {k}" for k in missing]
    if num_labels == 1 and getattr(exit, "classes_only", False):
        name = type(exit).__name__.lower()
        faults.append(
            f"exit={name} compares classes, and this task is a regression: use exit=never"
        )
    return faults
