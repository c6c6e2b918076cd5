"""Products of attentions one example at a time, for tests.

Shapes: T tokens of an example, H heads, K head width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from helpers.models import method, tiny_shape
from torch import Tensor

from eat_lightning.model.contracts import Attention, overrides
from eat_lightning.model.packed import Layout

SHAPE = tiny_shape(max_positions=280)
HEADS, WIDTH = SHAPE.num_heads, SHAPE.hidden_size // SHAPE.num_heads


@dataclass
class Example:
    """What a dense reference is given: all rows of one example, `layer` from 1."""

    q_HTK: Tensor
    k_HTK: Tensor
    v_HTK: Tensor
    position_T: Tensor
    weight_T: Tensor
    layer: int = 2

    def softmax(self, scores: Tensor) -> Tensor:
        """Over keys, each by its weight, of scores that are to be divided by sqrt(K)."""
        return (scores / WIDTH**0.5 + self.weight_T).softmax(-1)


def bound(kind: str, **changes: Any) -> Any:
    """A method as an encoder makes it, whatever it learns away from where it starts."""
    made = method("attention", kind, **changes)
    if overrides(made, Attention.bind):
        torch.manual_seed(3)
        made.bind(SHAPE, [6], 2)
        for weight in made.parameters():
            weight.data += 0.2 * torch.randn_like(weight)
    return made


def drawn(lengths: list[int]) -> tuple[Tensor, Layout, Tensor, Tensor]:
    """Rows, layout, places in the original text of which every other token was dropped, and log
    weights of keys, the first of them two tokens."""
    layout = Layout(torch.tensor(lengths), torch.device("cpu"))
    generator = torch.Generator().manual_seed(sum(lengths))
    qkv_N3HK = torch.randn(layout.num_tokens, 3, HEADS, WIDTH, generator=generator)
    weight_N = torch.where(layout.index_N == 0, 2.0, 1.0).log()
    return qkv_N3HK, layout, 2 * layout.index_N, weight_N


def examples(qkv_N3HK: Tensor, layout: Layout, position_N: Tensor, weight_N: Tensor) -> Any:
    lengths = layout.lengths_B.tolist()
    parts = (x.split(lengths) for x in (qkv_N3HK, position_N, weight_N))
    for qkv_T, position_T, weight_T in zip(*parts, strict=True):
        yield Example(*qkv_T.permute(1, 2, 0, 3), position_T, weight_T)


def product(pattern: Any, lengths: list[int], **rows: Any) -> Tensor | None:
    """Of the method on packed rows; None where it leaves that to the encoder."""
    qkv_N3HK, layout, position_N, weight_N = drawn(lengths)
    kernel = pattern.kernel(layout, 2)
    given = {"position_N": position_N, "weight_N": weight_N}
    wanted = {f"{name}_N": given[f"{name}_N"] for name in pattern.wants}
    return None if kernel is None else kernel(qkv_N3HK, layout, 0.0, **wanted | rows)
