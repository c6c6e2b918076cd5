"""Pooling, construction and checks of exit heads.

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
    return packed.x_ND.index_select(0, packed.layout.offsets_B)


def pool_mean(packed: Packed) -> Float[Tensor, "b d"]:
    """Mean over an example's vectors, each weighed by how many tokens it stands for, and those that
    a reduction forwarded."""
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
FROM_0 = Annotated[Sequence[int], in_layers(lowest=0)]


def head_faults(num_layers: int | None, head: Any) -> list[str]:
    """Check a head's settings, whatever a config or a file gives for them: its `kind` (a method's
    file name), its `layers` (or "all"), `last`, and the arguments of its kind."""
    if not isinstance(head, Mapping):
        return [f"head must be a dict of layers and the options of its kind, got {head!r}"]
    if "_target_" in head:
        given = f"head.kind={head['_target_']}"
        return [f"head._target_ is not an option: a head is named by its kind, so give {given}"]
    layers = listed_layers(head.get("layers", ()), num_layers or 1)
    faults = value_faults(FROM_0, "head.layers", layers, Beside(num_layers=num_layers))
    if (last := head.get("last")) is not None:
        faults += [f"head.last: {fault}" for fault in head_faults(num_layers, last)]
    try:
        return faults + named(head).faults(num_layers)
    except ValueError as error:
        return [str(error)]


def named(head: Mapping[str, Any]) -> Specification:
    """The method that a head's settings name."""
    arguments = {key: head[key] for key in head if key not in ("kind", "layers", "last")}
    return Specification("head", head.get("kind", "pooled"), arguments)


def head_settings(head: Mapping[str, Any], layers: Sequence[int]) -> dict[str, Any]:
    """The settings with a kind and with layers in numbers. `last` is there only where there are
    other heads too."""
    rest, last = {key: value for key, value in head.items() if key != "last"}, head.get("last")
    if last is None:
        return {"kind": "pooled", **rest, "layers": layers}
    last = {"kind": "pooled", **last}
    return (
        {**rest, "layers": layers, "last": last} if len(layers) > 1 else {**last, "layers": layers}
    )


def as_pretrained(
    head: Mapping[str, Any], found: Mapping[str, Any], classifier: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The settings with what is "auto", or left out, as `found` says a pretrained head has it
    (`activation`, `norm`); a kind without such an argument goes without.

    Args:
        head: settings of an encoder's heads.
        found: arguments of the pretrained head.
        classifier: kind and arguments of the pretrained head, for `last: auto`; None: there is no
            classifier, and the last head is as the others.
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
    """Tell where heads stand: at the layers named (or "all"), and at the last."""
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
        """Give the head of a layer."""
        return cast("Head", self[str(layer)])

    @property
    def wants(self) -> frozenset[str]:
        """Names of the notes on rows that any head wants."""
        return frozenset[str]().union(*(head.wants for head in self.by_layer.values()))

    def guessing(self, exit: ExitRule | None) -> list[int]:
        """Give the layers whose heads guess under an exit rule (None: nobody leaves): those where
        it looks, and the last. A head that sees those before it must see the same ones under every
        rule."""
        if exit is None or any(head.wants_earlier for head in self.by_layer.values()):
            return self.layers
        return sorted({*exit.layers, self.layers[-1]})


def make_heads(shape: Shape, kind: AnswerKind, head: Mapping[str, Any]) -> Heads:
    """Make a head for each of `head["layers"]`."""
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
    """An exit rule that learns from pooled vectors is made for those of the encoder's width."""
    if not (overrides(exit, ExitRule.bind) and overrides(exit, ExitRule.observe)):
        return []
    known = {name: value for name, value in head.items() if value != "auto"}
    if not named(known).build().changes_width:
        return []
    return [
        f"exit: {type(exit).__name__} learns from vectors of the encoder's width, which "
        f"head={head['kind']} does not pool: use head=pooled head.pool=mean, or head=pair"
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
