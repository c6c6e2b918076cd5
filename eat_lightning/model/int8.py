"""int8 linear layers: weights are quantised per output channel beforehand, and vectors per row at
run time (LLM.int8(), Dettmers et al. 2022).

A row has its own scale, so that a token's result does not depend on the other tokens. Embeddings,
norms, classes, scores and the attention product stay in floating point. Classes and scores are
compared with thresholds and with each other, which int8 would turn into ties. The dense layer of an
early head is in int8 too: for pairs it has as many weights as a whole layer of a small encoder, and
in fp32 it took half of the time of a guess. That of the last head is not, since it gives the answer
to which all others are compared.

Where a layer has factors for its input (`smoothing.py`), the input is divided by them, and the
weights are multiplied by the same before they are quantised.

torch._int_mm (oneDNN) does the product, 2 to 4 times as fast as fp32 here, for one row to a
thousand. FBGEMM's linear_dynamic has one scale for all rows, and is deprecated together with
torch's quantised tensors.

Shapes: N packed tokens (or any leading axes), K width in, M width out.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

Model = TypeVar("Model", bound=nn.Module)
STEPS = 127  # whole numbers on either side of 0; -128 is not used, so that 0 stays 0
TINY = 1e-12  # the least scale: a row of zeros has one too
FACTOR = "input_factor"  # an attribute (K) of layers in fp32 that have factors


def factor_in(linear: nn.Module) -> Tensor | None:
    """Return the factors (K) by which a layer's input is divided in int8; None: by none."""
    return getattr(linear, FACTOR, None)


def quantise(x_NK: Float[Tensor, "*n k"]) -> tuple[Int[Tensor, "*n k"], Float[Tensor, "*n 1"]]:
    """Return int8 numbers and the scale of each row: its largest absolute value / 127."""
    scale_N1 = x_NK.abs().amax(-1, keepdim=True).mul_(1 / STEPS).clamp_(min=TINY)
    return torch.div(x_NK, scale_N1).round_().to(torch.int8), scale_N1


def int8_linear(x_NK: Tensor, weight_MK: Tensor, scale_M: Tensor, bias_M: Tensor) -> Tensor:
    """Return rows times quantised weights, in fp32.

    Operations are in place: each further N x M tensor would be new memory, and mapping its pages
    takes longer than the product.
    """
    whole_NK, scale_N1 = quantise(x_NK)
    product: Any = torch._int_mm  # pyright: ignore[reportPrivateImportUsage]
    product_NM = product(whole_NK, weight_MK.t()).float().mul_(scale_M)
    return torch.addcmul(bias_M, product_NM, scale_N1, out=product_NM)


class Int8Linear(nn.Module):
    """nn.Linear in int8; it cannot be trained."""

    weight: Tensor
    scale: Tensor
    bias: Tensor
    shrink: Tensor | None  # K, that inputs are multiplied by

    def __init__(self, linear: nn.Linear):
        super().__init__()
        factor_K, weight_MK = factor_in(linear), linear.weight.detach().float()
        whole_MK, scale_M1 = quantise(weight_MK if factor_K is None else weight_MK * factor_K)
        self.register_buffer("shrink", None if factor_K is None else 1 / factor_K)
        bias = linear.weight.new_zeros(len(whole_MK)) if linear.bias is None else linear.bias
        self.register_buffer("weight", whole_MK)
        self.register_buffer("scale", scale_M1.flatten())
        self.register_buffer("bias", bias.detach().float())

    def forward(self, x: Float[Tensor, "*n k"]) -> Float[Tensor, "*n m"]:
        x_NK = x.reshape(-1, x.shape[-1])
        x_NK = x_NK if self.shrink is None else x_NK * self.shrink
        y_NM = int8_linear(x_NK, self.weight, self.scale, self.bias)
        return y_NM.view(*x.shape[:-1], -1)

    def linear(self) -> nn.Linear:
        """Return an fp32 layer with the weights that the quantised ones stand for."""
        made = nn.Linear(self.weight.shape[1], self.weight.shape[0])
        made.weight.data = self.weight * self.scale[:, None]
        made.bias.data = self.bias
        if self.shrink is not None:
            made.weight.data *= self.shrink
            made.register_buffer(FACTOR, 1 / self.shrink, persistent=False)
        return made


def in_int8(model: Model) -> Model:
    """Return a copy with int8 linear layers. In heads, only the dense layers of early ones are."""
    return replaced(model, nn.Linear, Int8Linear)


def out_of_int8(model: Model) -> Model:
    """Return a copy in fp32 again; `in_int8` of it has the same quantised weights."""
    return replaced(model, Int8Linear, Int8Linear.linear)


def is_int8(model: nn.Module) -> bool:
    return any(isinstance(part, Int8Linear) for part in model.modules())


def replaced(model: Model, old: type, make: Callable[[Any], nn.Module]) -> Model:
    """Return a copy in which `make` has replaced each module of class `old` that may be in int8."""
    made = copy.deepcopy(model)
    kept = heads_in_floats(made)
    for name, part in [*made.named_modules()]:
        if isinstance(part, old) and not name.startswith(kept):
            parent, _, attribute = name.rpartition(".")
            setattr(made.get_submodule(parent), attribute, make(part))
    return made


def heads_in_floats(model: nn.Module) -> tuple[str, ...]:
    """Return the beginnings of the names of modules that stay in floating point."""
    heads = [*dict(model.named_children()).get("heads", nn.Module()).named_children()]
    last = max((int(layer) for layer, _ in heads), default=0)
    return tuple(
        f"heads.{layer}.{name}"
        for layer, head in heads
        for name, _ in head.named_children()
        if name != "dense" or int(layer) == last
    )
