"""How much heads and inner neurons matter to the loss, and which matter most.

Shapes: L layers, H heads, F inner neurons, M kept of either.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.packed import Batch
from eat_lightning.model.recorder import ALL_EXITS
from eat_lightning.model.widths import Kept, cut_layer, rows_of


@dataclass(frozen=True)
class Importance:
    """Tell how much the loss would change at first if a head, or an inner neuron, were shut; -1
    where a layer has fewer than others."""

    heads_LH: Float[Tensor, "l h"]
    inner_LF: Float[Tensor, "l f"]


def importance(encoder: AdaptiveEncoder, batches: Iterable[Batch]) -> Importance:
    """Sum over batches of |d loss / d gate| at a gate of 1 on what each head and neuron gives
    (Michel et al. 2019). The loss is the task's, summed over all exits.

    A gate multiplies what `out` or `down` reads, so its derivative is the sum of weight times
    gradient over the columns that read it: no gate is needed.
    """
    shape, layers = encoder.shape, list[Any](encoder.layers)
    heads_LH = torch.zeros(shape.num_layers, shape.num_heads)
    inner_LF = torch.zeros(shape.num_layers, shape.intermediate_size)
    read = [(layer.out.weight, layer.down.weight) for layer in layers]
    weights = [weight for pair in read for weight in pair]
    for batch in batches:
        assert batch.labels_B is not None
        guesses = encoder(batch, ALL_EXITS).guesses.values()
        losses = [encoder.kind.loss(guess_BC, batch.labels_B) for guess_BC in guesses]
        loss = torch.stack(losses).sum()
        gates = [
            (weight.detach() * grad).sum(0).cpu()
            for weight, grad in zip(weights, torch.autograd.grad(loss, weights), strict=True)
        ]
        for i, (by_head, by_neuron) in enumerate(zip(gates[::2], gates[1::2], strict=True)):
            change_H = by_head.unflatten(0, (-1, shape.width_of_head)).sum(1).abs()
            heads_LH[i, : len(change_H)] += change_H
            inner_LF[i, : len(by_neuron)] += by_neuron.abs()
    for i in range(shape.num_layers):
        heads_LH[i, shape.at(i + 1).num_heads :] = -1
        inner_LF[i, shape.at(i + 1).intermediate_size :] = -1
    return Importance(heads_LH, inner_LF)


def best_of(found: Importance, heads: int, inner: int) -> Kept:
    """The `heads` and `inner` neurons of each layer that matter most."""
    return Kept(
        list(range(len(found.heads_LH))),
        [best(score_H, heads) for score_H in found.heads_LH],
        [best(score_F, inner) for score_F in found.inner_LF],
    )


def best(score_H: Float[Tensor, " h"], count: int) -> Int[Tensor, " m"]:
    """The highest, in their order; of equal ones the first."""
    most = min(count, int((score_H >= 0).sum()))
    return score_H.sort(descending=True, stable=True).indices[:most].sort().values


def sort_by_importance(encoder: AdaptiveEncoder, found: Importance) -> None:
    """Lay out each layer's heads and neurons from the most important to the least, which changes no
    answer ("network rewiring", Hou et al. 2020)."""
    width = encoder.shape.width_of_head
    scores = zip(encoder.layers, found.heads_LH, found.inner_LF, strict=True)
    for i, (layer, score_H, score_F) in enumerate(scores):
        size, parameters = encoder.shape.at(i + 1), dict(layer.named_parameters())
        heads_H = score_H.sort(descending=True, stable=True).indices[: size.num_heads]
        inner_F = score_F.sort(descending=True, stable=True).indices[: size.intermediate_size]
        with torch.no_grad():
            for name, weight in cut_layer(parameters, rows_of(heads_H, width), inner_F).items():
                parameters[name].copy_(weight)
