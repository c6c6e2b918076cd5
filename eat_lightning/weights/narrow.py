"""Structured width: the heads and inner neurons that matter least leave, and what is left is a
plain smaller encoder (Michel et al. 2019; the width of DynaBERT, Hou et al. 2020).

Shapes: L layers, H heads, K head width, F inner neurons, M kept of either.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from eat_lightning.bounds import whole_faults
from eat_lightning.errors import ConfigError
from eat_lightning.methods.objective._losses import task_loss
from eat_lightning.model.contracts import build_all, spec
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.packed import Batch

METHODS = ("attention", "reduction", "exit")


@dataclass(frozen=True)
class Importance:
    """How much the loss would change at first if a head, or an inner neuron, were shut."""

    heads_LH: Float[Tensor, "l h"]
    inner_LF: Float[Tensor, "l f"]


def importance(encoder: AdaptiveEncoder, batches: Iterable[Batch]) -> Importance:
    """Sum over batches of |d loss / d gate| at a gate of 1 on what each head and neuron gives
    (Michel et al. 2019, equation 2). The loss is the task's, summed over all exits.

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
        guesses = encoder(batch, leave=False).guesses.values()
        loss = torch.stack([task_loss(guess_BC, batch.labels_B) for guess_BC in guesses]).sum()
        gates = [
            (weight.detach() * grad).sum(0).cpu()
            for weight, grad in zip(weights, torch.autograd.grad(loss, weights), strict=True)
        ]
        heads_LHK = torch.stack(gates[::2]).unflatten(1, (shape.num_heads, -1))
        heads_LH += heads_LHK.sum(2).abs()
        inner_LF += torch.stack(gates[1::2]).abs()
    return Importance(heads_LH, inner_LF)


def width_faults(encoder: AdaptiveEncoder, heads: int, inner: int) -> list[str]:
    """Check how many heads and inner neurons each layer shall keep."""
    shape, faults = encoder.shape, []
    for key, value, most in (
        ("heads", heads, shape.num_heads),
        ("inner", inner, shape.intermediate_size),
    ):
        faults += whole_faults(key, value, 1)
        if not whole_faults(key, value, 1) and value > most:
            faults.append(f"{key} must be in 1..{most}, got {value}")
    if shape.layer_groups:
        faults.append("this encoder's layers share their weights, so none can be narrowed alone")
    per_head = encoder.relative is not None and encoder.relative.per_head
    if per_head and heads != shape.num_heads:
        faults.append(
            f"heads must be {shape.num_heads}, got {heads}: this encoder's layers share a "
            "relative-position bias of that many heads"
        )
    return faults


def narrowed(
    encoder: AdaptiveEncoder, heads: int, inner: int, found: Importance
) -> AdaptiveEncoder:
    """A plain encoder with the `heads` and `inner` neurons of each layer that matter most, in their
    order; all else, learned parameters of methods too, as it was.

    Raises ConfigError where a method has a weight for each head.
    """
    shape = replace(
        encoder.shape,
        num_heads=heads,
        head_width=encoder.shape.width_of_head,
        intermediate_size=inner,
    )
    methods = build_all({s: spec(s, getattr(encoder, s)) for s in METHODS}, shape.num_layers)
    policies = encoder.policies
    made = AdaptiveEncoder(
        shape, encoder.num_labels, **methods, head=encoder.head, policies=policies
    )
    state = encoder.state_dict()
    for i in range(shape.num_layers):
        head_rows = rows_of(best(found.heads_LH[i], heads), shape.head_width)
        own = cut_layer(state, f"layers.{i}.", head_rows, best(found.inner_LF[i], inner))
        state |= own
    try:
        made.load_state_dict(state)
    except RuntimeError as error:
        said = " ".join(str(error).split())[-200:]
        raise ConfigError(f"heads: a method of this run has a weight for each ({said})") from None
    return made.eval()


def best(score_H: Float[Tensor, " h"], count: int) -> Int[Tensor, " m"]:
    """The highest, in their order; of equal ones the first."""
    return score_H.sort(descending=True, stable=True).indices[:count].sort().values


def rows_of(heads_M: Int[Tensor, " m"], width: int) -> Int[Tensor, " mk"]:
    return (heads_M[:, None] * width + torch.arange(width)).flatten()


def cut_layer(
    state: dict[str, Tensor], home: str, heads_M: Int[Tensor, " mk"], inner_M: Int[Tensor, " m"]
) -> dict[str, Tensor]:
    """The weights of a layer that has only these rows of its heads, and these inner neurons."""
    cut = {}
    up, down = state[f"{home}up.weight"], state[f"{home}down.weight"]
    halves = [inner_M + start for start in range(0, len(up), down.shape[1])]  # of a gated one two
    for end in ("weight", "bias") if f"{home}up.bias" in state else ("weight",):
        thirds = state[f"{home}qkv.{end}"].chunk(3)
        cut[f"{home}qkv.{end}"] = torch.cat([third[heads_M] for third in thirds])
        cut[f"{home}up.{end}"] = state[f"{home}up.{end}"][torch.cat(halves)]
    cut[f"{home}out.weight"] = state[f"{home}out.weight"][:, heads_M]
    cut[f"{home}down.weight"] = down[:, inner_M]
    return cut
