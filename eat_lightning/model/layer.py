"""The sizes of an encoder, its embedding and its layer.

Shapes: N packed tokens, D width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from eat_lightning.model.contracts import Kernel
from eat_lightning.model.evidence import Evidence, gather_evidence
from eat_lightning.model.heads import ACTIVATIONS
from eat_lightning.model.masks import RelativeBias, with_key_weights
from eat_lightning.model.packed import Batch, Packed


@dataclass(frozen=True)
class Shape:
    """The sizes of an encoder.

    position_offset: the id of the first position (MPNet: 2). relative_buckets: 0, or the buckets of
    a relative-position bias shared by all layers. layerdrop: the share of training steps that leave
    a layer out (LayerDrop, Fan et al. 2020). head_width: of each head (0: hidden_size / num_heads;
    a narrowed encoder has fewer heads than would fill its width). heads_by_layer, inner_by_layer:
    of a narrowed encoder whose layers differ; num_heads and intermediate_size are then the most.
    """

    vocab_size: int
    hidden_size: int
    num_layers: int
    num_heads: int
    intermediate_size: int
    max_positions: int = 512
    type_vocab_size: int = 2
    eps: float = 1e-12
    position_offset: int = 0
    relative_buckets: int = 0
    dropout: float = 0.1
    attention_dropout: float = 0.1
    layerdrop: float = 0.0
    head_width: int = 0
    hidden_act: str = "gelu"
    sep_token_id: int = 102
    pad_token_id: int = 0
    heads_by_layer: Sequence[int] | None = None
    inner_by_layer: Sequence[int] | None = None

    def __post_init__(self) -> None:
        for name in ("heads_by_layer", "inner_by_layer"):  # a config.json has lists
            if (given := getattr(self, name)) is not None:
                object.__setattr__(self, name, tuple(given))

    def at(self, layer: int) -> Shape:
        """The sizes of one layer (1-based), as if all were like it."""
        heads, inner = self.heads_by_layer, self.inner_by_layer
        if heads is None and inner is None:
            return self
        return replace(
            self,
            num_heads=self.num_heads if heads is None else heads[layer - 1],
            intermediate_size=self.intermediate_size if inner is None else inner[layer - 1],
            head_width=self.width_of_head,
            heads_by_layer=None,
            inner_by_layer=None,
        )

    def of_layers(self, chosen: Sequence[int]) -> Shape:
        """With these layers alone (0-based)."""
        heads, inner = self.heads_by_layer, self.inner_by_layer
        heads = heads and tuple(heads[i] for i in chosen)
        inner = inner and tuple(inner[i] for i in chosen)
        return replace(
            self,
            num_layers=len(chosen),
            num_heads=max(heads or [self.num_heads]),
            intermediate_size=max(inner or [self.intermediate_size]),
            head_width=self.head_width or (self.width_of_head if heads else 0),
            heads_by_layer=heads,
            inner_by_layer=inner,
        )

    @property
    def width_of_head(self) -> int:
        return self.head_width or self.hidden_size // self.num_heads

    @property
    def attention_width(self) -> int:
        """The width of all heads together, which queries, keys and values have for each token."""
        return self.num_heads * self.width_of_head

    @property
    def max_length(self) -> int:
        """The longest example, in tokens."""
        return self.max_positions - self.position_offset


class Embedding(nn.Module):
    def __init__(self, shape: Shape):
        super().__init__()
        self.offset = shape.position_offset
        self.word = nn.Embedding(shape.vocab_size, shape.hidden_size)
        self.position = nn.Embedding(shape.max_positions, shape.hidden_size)
        types = shape.type_vocab_size
        self.token_type = nn.Embedding(types, shape.hidden_size) if types else None
        self.norm = nn.LayerNorm(shape.hidden_size, eps=shape.eps)
        self.dropout = nn.Dropout(shape.dropout)

    def forward(self, batch: Batch, index_N: Int[Tensor, " n"]) -> Float[Tensor, "n d"]:
        x_ND = self.word(batch.ids_N) + self.position(index_N + self.offset)
        if self.token_type is not None:
            x_ND = x_ND + self.token_type(batch.types_N)
        return self.dropout(self.norm(x_ND))


class Layer(nn.Module):
    """One post-norm Transformer layer; only the attention product leaves the packed rows."""

    def __init__(self, shape: Shape):
        super().__init__()
        width, heads_width = shape.hidden_size, shape.attention_width
        self.head_width, self.attention_dropout = shape.width_of_head, shape.attention_dropout
        self.qkv = nn.Linear(width, 3 * heads_width)
        self.out = nn.Linear(heads_width, width)
        self.attention_norm = nn.LayerNorm(width, eps=shape.eps)
        self.up = nn.Linear(width, shape.intermediate_size)
        self.down = nn.Linear(shape.intermediate_size, width)
        self.output_norm = nn.LayerNorm(width, eps=shape.eps)
        self.dropout = nn.Dropout(shape.dropout)
        self.act = ACTIVATIONS[shape.hidden_act]

    def attend(
        self,
        packed: Packed,
        mask: Tensor | None,
        needs: frozenset[str],
        kernel: Kernel | None = None,
        grad: bool = False,
    ) -> tuple[Packed, Evidence]:
        """`kernel`: the pattern's own product, which knows who sees whom without the mask. `grad`:
        evidence is given with its gradient."""
        layout, x_ND = packed.layout, packed.x_ND
        qkv_N = self.qkv(x_ND).unflatten(-1, (3, -1, self.head_width))
        dropout = self.attention_dropout if self.training else 0.0
        evidence = Evidence()
        if kernel is None or needs:
            q, k, v = layout.pad(qkv_N).permute(2, 0, 3, 1, 4)
            mask = with_key_weights(packed, mask)
            if mask is not None and mask.dtype != torch.bool:
                mask = mask.to(q.dtype)
            if needs:
                shown = (q, k, v) if grad else (q.detach(), k.detach(), v.detach())
                evidence = gather_evidence(layout, *shown, mask, needs)
        if kernel is None:
            mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout)
            mixed_ND = layout.unpad(mixed.transpose(1, 2).flatten(2))
        else:
            mixed_ND = kernel(qkv_N, layout, dropout).flatten(1)
        return packed.with_x(self.attention_norm(self.added(x_ND, self.out, mixed_ND))), evidence

    def scores(self, packed: Packed) -> Float[Tensor, "b h l l"]:
        """Attention scores of each query for each key of its example, before softmax; those of
        padding mean nothing."""
        qk_N = self.qkv(packed.x_ND).unflatten(-1, (3, -1, self.head_width))[:, :2]
        q, k = packed.layout.pad(qk_N).permute(2, 0, 3, 1, 4)
        return q @ k.transpose(-1, -2) / math.sqrt(self.head_width)

    def feed_forward(self, packed: Packed) -> Packed:
        x_ND = packed.x_ND
        inner_NM = self.act(self.up(x_ND))
        return packed.with_x(self.output_norm(self.added(x_ND, self.down, inner_NM)))

    def added(self, x_ND: Tensor, linear: nn.Module, inner_NM: Tensor) -> Tensor:
        """The vectors with what a linear map makes of others added, within its product where it
        can (a prepacked one, which nothing trains)."""
        if getattr(linear, "adds", False):
            return linear(inner_NM, x_ND)
        return x_ND + self.dropout(linear(inner_NM))


def initialise(module: nn.Module) -> None:
    """BERT's: normal of 0.02 for matrices, zero biases."""
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)
    if isinstance(module, RelativeBias):
        nn.init.normal_(module.weight, std=0.02)
