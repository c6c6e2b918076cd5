"""Exit heads: pooling, their settings and the checks of these, and the heads of an encoder.

Shapes: B examples, N packed tokens, D width, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, Any, Literal, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from eat_lightning.answer_kind import MULTI, SCORE, SINGLE, AnswerKind, misfit
from eat_lightning.model.contracts import ExitRule, Head, overrides
from eat_lightning.model.packed import Packed
from eat_lightning.model.shape import Shape
from eat_lightning.model.specification import Specification
from eat_lightning.validation import Beside, in_layers, listed_layers, value_faults

ACTIVATIONS = {
    "tanh": torch.tanh,
    "relu": F.relu,
    "gelu": F.gelu,
    "gelu_new": partial(F.gelu, approximate="tanh"),
    "silu": F.silu,
}


def pool_cls(packed: Packed) -> Float[Tensor, "b d"]:
    """Return the vector of each example's first token."""
    return packed.x_ND.index_select(0, packed.layout.offsets_B)


def pool_mean(packed: Packed) -> Float[Tensor, "b d"]:
    """Return the mean of each example's vectors, weighted by the tokens that each represents, with
    those that a reduction forwarded."""
    layout = packed.layout
    if layout.even and packed.size_N is None and packed.forwarded_B is None:
        return layout.pad(packed.x_ND).mean(1)
    size_N = torch.ones_like(packed.x_ND[:, 0]) if packed.size_N is None else packed.size_N
    total_BD = packed.x_ND.new_zeros(layout.size, packed.x_ND.shape[1])
    total_BD = total_BD.index_add(0, layout.segment_N, packed.x_ND * size_N[:, None])
    count_B = size_N.new_zeros(layout.size).index_add(0, layout.segment_N, size_N)
    if packed.forwarded_BD is not None and packed.forwarded_B is not None:
        total_BD, count_B = total_BD + packed.forwarded_BD, count_B + packed.forwarded_B
    return total_BD / count_B[:, None]


Pool = Literal["cls", "mean"]
POOLS = {"cls": pool_cls, "mean": pool_mean}
HeadLayers = Annotated[Sequence[int], in_layers(lowest=0)]  # 0: a head on the embedding


def head_faults(num_layers: int | None, head: Any) -> list[str]:
    """Return a line for each fault of the settings of heads (see `AdaptiveEncoder`), which may be
    anything that a config or a file gives."""
    if not isinstance(head, Mapping):
        return [f"head must be a dict of layers and the options of its kind, got {head!r}"]
    if "_target_" in head:
        given = f"head.kind={head['_target_']}"
        return [f"head._target_ is not an option: a head is named by its kind, so give {given}"]
    layers = listed_layers(head.get("layers", ()), num_layers or 1)
    faults = value_faults(HeadLayers, "head.layers", layers, Beside(num_layers=num_layers))
    if (last := head.get("last")) is not None:
        faults += [f"head.last: {fault}" for fault in head_faults(num_layers, last)]
    try:
        return faults + named(head).faults(num_layers)
    except ValueError as error:
        return [str(error)]


def named(head: Mapping[str, Any]) -> Specification:
    """Return the specification of the head that settings name."""
    arguments = {key: head[key] for key in head if key not in ("kind", "layers", "last")}
    return Specification("head", head.get("kind", "pooled"), arguments)


def head_settings(head: Mapping[str, Any], layers: Sequence[int]) -> dict[str, Any]:
    """Return the settings with a kind and with layers as numbers. `last` remains only if there are
    other heads too."""
    rest, last = {key: value for key, value in head.items() if key != "last"}, head.get("last")
    if last is None:
        return {"kind": "pooled", **rest, "layers": layers}
    last = {"kind": "pooled", **last}
    if len(layers) == 1:
        return {**last, "layers": layers}
    return {**rest, "layers": layers, "last": last}


def as_pretrained(
    head: Mapping[str, Any], found: Mapping[str, Any], classifier: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the settings with a pretrained head's arguments (`activation`, `norm`) in place of
    those that are "auto" or left out. A kind without such an argument does not get it.

    Args:
        head: settings of an encoder's heads.
        found: arguments of the pretrained head.
        classifier: kind and arguments of the pretrained head, for `last: auto`; None if there is no
            classifier, so that the last head is like the others.
    """
    takes, made = named(head).takes, dict(head)
    if made.get("last") == "auto":
        made["last"] = classifier
    elif made.get("last") is not None:
        made["last"] = as_pretrained(made["last"], found)
    for name, value in found.items():
        if made.get(name, "auto") == "auto":
            made.pop(name, None)
            made |= {name: value} if name in takes else {}
    return made


def layers_with_heads(layers: Any, num_layers: int) -> list[int]:
    """Return the layers with heads: those named (or "all"), and the last."""
    return sorted({*listed_layers(layers, num_layers), num_layers})


class Heads(nn.ModuleDict):
    """The heads of an encoder, by the numbers of their layers (0: the embedding)."""

    def __init__(self, heads: Mapping[int, Head]):
        super().__init__({str(layer): head for layer, head in heads.items()})

    @property
    def layers(self) -> list[int]:
        """Layers with heads, ascending."""
        return sorted(int(layer) for layer in self)

    @property
    def by_layer(self) -> dict[int, Head]:
        """Heads by layer, ascending."""
        return {layer: self.at(layer) for layer in self.layers}

    def at(self, layer: int) -> Head:
        """Return the head of a layer."""
        return cast("Head", self[str(layer)])

    @property
    def wants(self) -> frozenset[str]:
        """Names of the notes on rows that any head wants."""
        return frozenset[str]().union(*(head.wants for head in self.by_layer.values()))

    def guessing(self, exit: ExitRule | None) -> list[int]:
        """Return the layers whose heads run under an exit rule: its own and the last. With None, or
        with a head that reads earlier heads (they must be the same under every rule), all run."""
        if exit is None or any(head.wants_earlier for head in self.by_layer.values()):
            return self.layers
        return sorted({*exit.layers, self.layers[-1]})


def make_heads(shape: Shape, kind: AnswerKind, head: Mapping[str, Any]) -> Heads:
    """Create a head for each of `head["layers"]`, as `head_settings` gives them."""
    made: dict[int, Head] = {}
    for layer in head["layers"]:
        settings = head["last"] if "last" in head and layer == shape.num_layers else head
        num_outputs = kind.num_labels if layer == shape.num_layers else kind.width
        made[layer] = named(settings).build()
        made[layer].bind(shape, head["layers"], num_outputs)
    for layer, one in made.items():
        one.join(layer, {k: other for k, other in made.items() if type(other) is type(one)})
    return Heads(made)


def pooled_faults(exit: ExitRule, head: Mapping[str, Any]) -> list[str]:
    """Return the conflict, if any, between heads and an exit rule that learns from pooled vectors:
    its parameters are made for vectors of the encoder's width."""
    if not (overrides(exit, ExitRule.bind) and overrides(exit, ExitRule.observe)):
        return []
    known = {name: value for name, value in head.items() if value != "auto"}
    if not named(known).build().changes_width:
        return []
    return [
        f"exit: {type(exit).__name__} learns from vectors of the encoder's width, which "
        f"head={head['kind']} does not pool: use head=pooled head.pool=mean, or head=pair "
        "head.narrowing=1"
    ]


# The usual exit rule of each kind of answers.
JUDGES = {SINGLE: "confidence", MULTI: "every_label", SCORE: "predicted_error"}


def slot_faults(
    exit: ExitRule, heads: Sequence[int], num_layers: int, kind: AnswerKind
) -> list[str]:
    """List the conflicts between exit rule, exit heads and kind of answers."""
    missing = [k for k in exit.layers if k not in {*heads, num_layers}]
    faults = [f"exit.layers must have exit heads (at {list(heads)}), got {k}" for k in missing]
    name = type(exit).__name__.lower()
    if kind.problem_type not in exit.kinds:
        use = f"use exit=never or exit={JUDGES[kind.problem_type]}"
        faults.append(f"exit={name} {misfit(exit.kinds, kind)}: {use}")
    elif exit.wants_error and kind.width == kind.num_labels:
        faults.append(f"exit={name} reads a predicted error, which these heads do not give")
    return faults
