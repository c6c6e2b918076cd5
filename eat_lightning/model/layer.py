"""The embedding and the Transformer layer of an encoder, layers that share weights, and twins.

Shapes: N packed tokens, D width.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from eat_lightning.model.contracts import Kernel
from eat_lightning.model.evidence import Evidence, gather_evidence
from eat_lightning.model.heads import ACTIVATIONS
from eat_lightning.model.masks import with_bias, with_key_weights
from eat_lightning.model.packed import Batch, Packed
from eat_lightning.model.positions import Disentangled, Distance, RelativeBias
from eat_lightning.model.shape import Shape

M = TypeVar("M", bound=nn.Module)


class Embedding(nn.Module):
    """Word embeddings, with those of positions and token types and a projection if the shape has
    them."""

    def __init__(self, shape: Shape):
        super().__init__()
        self.offset, width = shape.position_offset, shape.embedding_size or shape.hidden_size
        self.word = nn.Embedding(shape.vocab_size, width)
        placed, types = shape.absolute_positions, shape.type_vocab_size
        self.position = nn.Embedding(shape.max_positions, width) if placed else None
        self.token_type = nn.Embedding(types, width) if types else None
        self.norm = nn.LayerNorm(width, eps=shape.eps, bias=shape.biases)
        self.dropout = nn.Dropout(shape.dropout)
        self.project = nn.Linear(width, shape.hidden_size) if shape.embedding_size else None

    def forward(self, batch: Batch, index_N: Int[Tensor, " n"]) -> Float[Tensor, "n d"]:
        x_ND = self.word(batch.ids_N)
        if self.position is not None:
            x_ND = x_ND + self.position(index_N + self.offset)
        if self.token_type is not None:
            x_ND = x_ND + self.token_type(batch.types_N)
        x_ND = self.dropout(self.norm(x_ND))
        return x_ND if self.project is None else self.project(x_ND)


def plain(up_ND: Tensor, act: Callable[[Tensor], Tensor]) -> Tensor:
    return act(up_ND)


def gated(up_ND: Tensor, act: Callable[[Tensor], Tensor]) -> Tensor:
    """GeGLU and its like (Shazeer 2020): one half, activated, times the other."""
    inner_NF, gate_NF = up_ND.chunk(2, -1)
    return act(inner_NF) * gate_NF


FEED_FORWARDS = {"plain": plain, "gated": gated}


class AddingLinear(nn.Module):
    """The base class of linear maps that take the residual as a second argument and add it in the
    same product. Those for which `adds` is false do not (`weights/prepacked.py` has such maps)."""

    adds: bool


class Layer(nn.Module):
    """One Transformer layer on packed rows, post-norm (Vaswani et al. 2017) or pre-norm (Xiong et
    al. 2020). Only the attention product pads them.

    Args:
        shape: sizes of this layer.
        after_norm: whether its input has just been normed by the embedding, so that a pre-norm
            layer skips its first norm.
    """

    def __init__(self, shape: Shape, after_norm: bool = False):
        super().__init__()
        width, heads_width, bias = shape.hidden_size, shape.attention_width, shape.biases
        self.head_width, self.attention_dropout = shape.width_of_head, shape.attention_dropout
        self.norm_first, self.inner = shape.norm == "first", FEED_FORWARDS[shape.feed_forward]
        self.qkv = nn.Linear(width, 3 * heads_width, bias=bias)
        self.out = nn.Linear(heads_width, width, bias=bias)
        norm = nn.LayerNorm(width, eps=shape.eps, bias=bias)
        self.attention_norm = nn.Identity() if after_norm and self.norm_first else norm
        self.up = nn.Linear(width, shape.up_width, bias=bias)
        self.down = nn.Linear(shape.intermediate_size, width, bias=bias)
        self.output_norm = nn.LayerNorm(width, eps=shape.eps, bias=bias)
        self.dropout = nn.Dropout(shape.dropout)
        self.act = ACTIVATIONS[shape.hidden_act]

    def attend(
        self,
        packed: Packed,
        mask: Tensor | None,
        needs: frozenset[str],
        kernel: Kernel | None = None,
        grad: bool = False,
        distance: Distance | None = None,
        number: int = 1,
    ) -> tuple[Packed, Evidence]:
        """Return the vectors after attention and its residual, and the evidence for a reduction.

        Args:
            mask: for the fused product and the evidence; see `masks.attention_mask`.
            needs: names of the evidence.
            kernel: the pattern's own product, which needs no mask; None: the fused product.
            grad: whether evidence keeps its gradient.
            number: number of this layer, 1-based.
        """
        layout, x_ND = packed.layout, packed.x_ND
        qkv_N = self.projected(x_ND, packed, distance, number)
        dropout = self.attention_dropout if self.training else 0.0
        evidence = Evidence()
        if kernel is None or needs:
            q, k, v = layout.pad(qkv_N).permute(2, 0, 3, 1, 4)
            mask = self.whole_mask(mask, q, k, packed, distance)
            if needs:
                shown = (q, k, v) if grad else (q.detach(), k.detach(), v.detach())
                evidence = gather_evidence(layout, *shown, mask, needs)
        if kernel is None:
            mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout)
            mixed_ND = layout.unpad(mixed.transpose(1, 2).flatten(2))
        else:
            mixed_ND = kernel(qkv_N, layout, dropout).flatten(1)
        added_ND = self.added(x_ND, self.out, mixed_ND)
        if not self.norm_first:
            added_ND = self.attention_norm(added_ND)
        return packed.with_x(added_ND), evidence

    def whole_mask(
        self, mask: Tensor | None, q: Tensor, k: Tensor, packed: Packed, distance: Distance | None
    ) -> Tensor | None:
        """Add the keys' log weights and the backbone's own scores of distances to a mask."""
        mask = with_key_weights(packed, mask)
        distance_BHLL = None if distance is None else distance.scores(q, k, packed, self.qkv)
        mask = mask if distance_BHLL is None else with_bias(mask, distance_BHLL)
        return mask if mask is None or mask.dtype == torch.bool else mask.to(q.dtype)

    def projected(
        self, x_ND: Tensor, packed: Packed, distance: Distance | None, number: int
    ) -> Float[Tensor, "n 3 h k"]:
        """Return queries, keys and values as attention multiplies them."""
        read_ND = self.attention_norm(x_ND) if self.norm_first else x_ND
        qkv_N = self.qkv(read_ND).unflatten(-1, (3, -1, self.head_width))
        return qkv_N if distance is None else distance.rotated(qkv_N, packed, number)

    def scores(
        self, packed: Packed, distance: Distance | None = None, number: int = 1
    ) -> Float[Tensor, "b h l l"]:
        """Return the attention scores before softmax; those of padding mean nothing."""
        qkv_N = self.projected(packed.x_ND, packed, distance, number)
        q, k = packed.layout.pad(qkv_N[:, :2]).permute(2, 0, 3, 1, 4)
        scores_BHLL = q @ k.transpose(-1, -2) / math.sqrt(self.head_width)
        distance_BHLL = None if distance is None else distance.scores(q, k, packed, self.qkv)
        return scores_BHLL if distance_BHLL is None else scores_BHLL + distance_BHLL

    def feed_forward(self, packed: Packed) -> Packed:
        """Return the vectors after the feed-forward block and its residual."""
        x_ND = packed.x_ND
        up_NF = self.up(self.output_norm(x_ND) if self.norm_first else x_ND)
        added_ND = self.added(x_ND, self.down, self.inner(up_NF, self.act))
        return packed.with_x(added_ND if self.norm_first else self.output_norm(added_ND))

    def added(self, x_ND: Tensor, linear: nn.Module, inner_NM: Tensor) -> Tensor:
        """Return the residual `x_ND` + linear(inner_NM)."""
        if isinstance(linear, AddingLinear) and linear.adds:
            return linear(inner_NM, x_ND)
        return x_ND + self.dropout(linear(inner_NM))


class Layers(nn.Module):
    """The layers of an encoder, by 0-based index. Each of the `distinct` ones may stand for several
    in a row (ALBERT, Lan et al. 2020); its weights are held, and saved, once."""

    def __init__(self, distinct: Iterable[nn.Module], num_layers: int):
        super().__init__()
        self.num_layers = num_layers
        for i, layer in enumerate(distinct):
            self.add_module(str(i), layer)

    def __len__(self) -> int:
        return self.num_layers

    def __getitem__(self, place: int) -> Any:
        place = range(self.num_layers)[place]
        return self._modules[str(place * len(self._modules) // self.num_layers)]

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(self.num_layers))

    def each(self, make: Callable[[Any], nn.Module]) -> Layers:
        """Return layers made from these, shared in the same way."""
        return Layers([make(layer) for layer in self.children()], self.num_layers)


def sharing(module: M, **parts: Any) -> M:
    """Return a twin of a module that shares all parts except those given by name."""
    twin = copy.copy(module)
    twin._modules = dict(module._modules)
    for name, part in parts.items():
        replace_part(twin, name, part)
    return twin


def replace_part(module: nn.Module, name: str, part: Any) -> None:
    """Replace the attribute `name` by `part`, whether or not either is an `nn.Module`."""
    module._modules.pop(name, None)  # torch refuses to replace a module by anything else
    setattr(module, name, part)


def initialise(module: nn.Module) -> None:
    """BERT's initialisation: matrices are normal with a deviation of 0.02, biases are zero."""
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)
    if isinstance(module, RelativeBias | Disentangled):
        nn.init.normal_(module.weight, std=0.02)
