"""Narrowing an encoder: which heads, inner neurons and layers are kept, and their weights.

Shapes: L layers, H heads, K head width, F inner neurons, M kept of either.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from eat_lightning.model.encoder import AdaptiveEncoder


@dataclass(frozen=True)
class Kept:
    """The parts that are kept, ascending: layers (0-based), and heads and inner neurons of each."""

    layers: list[int]
    heads: list[Int[Tensor, " m"]]
    inner: list[Int[Tensor, " m"]]


def in_order(encoder: AdaptiveEncoder, heads: int, inner: int, depth: int | None = None) -> Kept:
    """Keep the first heads and neurons of each layer, and `depth` of the layers. Heads and neurons
    must lie in the order of their importance."""
    shape = encoder.shape
    layers = layers_left(shape.num_layers, depth or shape.num_layers)
    sizes = [shape.at(i + 1) for i in layers]
    return Kept(
        layers,
        [torch.arange(min(heads, size.num_heads)) for size in sizes],
        [torch.arange(min(inner, size.intermediate_size)) for size in sizes],
    )


def layers_left(num_layers: int, depth: int) -> list[int]:
    """Return the layers (0-based) that are kept when `depth` of them are: floor(i L / depth), as in
    DynaBERT's code and LayerDrop's pre-training (Hou et al. 2020; Fan et al. 2020)."""
    return [i * num_layers // depth for i in range(depth)]


def living(encoder: AdaptiveEncoder) -> Kept:
    """Keep the heads and neurons that `out` and `down` read with a weight other than 0; the others
    change nothing. At least one of either is kept in a layer, and all heads where layers share a
    relative-position bias, which has a column for each."""
    width, layers = encoder.shape.width_of_head, list[Any](encoder.layers)
    read = [(layer.out.weight != 0).any(0).unflatten(0, (-1, width)).any(1) for layer in layers]
    if encoder.relative is not None and encoder.relative.per_head:
        read = [torch.ones_like(alive_H) for alive_H in read]
    inner = [(layer.down.weight != 0).any(0) for layer in layers]
    return Kept(
        list(range(len(layers))),
        [at_least_one(alive_H).nonzero().flatten().cpu() for alive_H in read],
        [at_least_one(alive_F).nonzero().flatten().cpu() for alive_F in inner],
    )


def at_least_one(alive_H: Tensor) -> Tensor:
    """Return the mask, with the first entry set if none is."""
    first_H = torch.zeros_like(alive_H)
    first_H[0] = ~alive_H.any()
    return alive_H | first_H


def rows_of(heads_M: Int[Tensor, " m"], width: int) -> Int[Tensor, " mk"]:
    """Return the rows of a projection's weights that belong to these heads."""
    return (heads_M[:, None] * width + torch.arange(width)).flatten()


def cut_layer(
    weights: Mapping[str, Tensor], rows_M: Int[Tensor, " mk"], inner_M: Int[Tensor, " m"]
) -> dict[str, Tensor]:
    """Return the weights of a layer that keeps only these rows of its heads and these inner
    neurons, in this order."""
    cut, up = {}, weights["up.weight"]
    parts = range(0, len(up), weights["down.weight"].shape[1])  # a gated one has two
    up_M = torch.cat([inner_M + start for start in parts])
    for end in ("weight", "bias") if "up.bias" in weights else ("weight",):
        thirds = weights[f"qkv.{end}"].chunk(3)
        cut[f"qkv.{end}"] = torch.cat([third[rows_M] for third in thirds])
        cut[f"up.{end}"] = weights[f"up.{end}"][up_M]
    cut["out.weight"] = weights["out.weight"][:, rows_M]
    cut["down.weight"] = weights["down.weight"][:, inner_M]
    return cut


def slices(encoder: AdaptiveEncoder, heads: int, inner: int) -> dict[str, Tensor]:
    """Return the weights of layers with only the first heads and neurons, by their names in the
    encoder. A pass with them (`with_weights`) is one of the narrower encoder, and trains this
    one."""
    kept, weights = in_order(encoder, heads, inner), {}
    parts = zip(kept.heads, kept.inner, encoder.layers, strict=True)
    for i, (heads_M, inner_M, layer) in enumerate(parts):
        rows_M = rows_of(heads_M, encoder.shape.width_of_head)
        cut = cut_layer(dict(layer.named_parameters()), rows_M, inner_M)
        weights |= {f"layers.{i}.{name}": weight for name, weight in cut.items()}
    return weights
