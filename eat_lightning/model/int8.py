"""int8: products with weights as whole numbers, quantised as they run (weights by output channel
beforehand, vectors row by row: LLM.int8(), Dettmers et al. 2022).

A row has its own scale, so that what is computed of a token does not depend on the tokens beside
it. Embeddings, norms, heads, scores and the attention product stay in floating point: heads and
scores are compared with thresholds and with each other, and int8 would make ties of them.

torch._int_mm (oneDNN) multiplies: 2 to 4 times as fast as fp32 here, from one row to a thousand.
FBGEMM's linear_dynamic, with one scale for all rows, is deprecated with torch's quantised tensors.

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


def quantise(x_NK: Float[Tensor, "*n k"]) -> tuple[Int[Tensor, "*n k"], Float[Tensor, "*n 1"]]:
    """Whole numbers, and by what to multiply them: a row's largest value / 127."""
    scale_N1 = x_NK.abs().amax(-1, keepdim=True).mul_(1 / STEPS).clamp_(min=TINY)
    return torch.div(x_NK, scale_N1).round_().to(torch.int8), scale_N1


def int8_linear(x_NK: Tensor, weight_MK: Tensor, scale_M: Tensor, bias_M: Tensor) -> Tensor:
    """Rows times quantised weights, in fp32.

    In place: of a batch each further tensor of N x M is new memory, and the system's pages for it
    take longer than the product.
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

    def __init__(self, linear: nn.Linear):
        super().__init__()
        whole_MK, scale_M1 = quantise(linear.weight.detach().float())
        bias = linear.weight.new_zeros(len(whole_MK)) if linear.bias is None else linear.bias
        self.register_buffer("weight", whole_MK)
        self.register_buffer("scale", scale_M1.flatten())
        self.register_buffer("bias", bias.detach().float())

    def forward(self, x: Float[Tensor, "*n k"]) -> Float[Tensor, "*n m"]:
        x_NK = x.reshape(-1, x.shape[-1])
        y_NM = int8_linear(x_NK, self.weight, self.scale, self.bias)
        return y_NM.view(*x.shape[:-1], -1)

    def linear(self) -> nn.Linear:
        """A layer with the weights that the whole numbers stand for."""
        made = nn.Linear(self.weight.shape[1], self.weight.shape[0])
        made.weight.data = self.weight * self.scale[:, None]
        made.bias.data = self.bias
        return made


def in_int8(model: Model) -> Model:
    """A copy whose products with weights are in int8, but for those of its heads."""
    return replaced(model, nn.Linear, Int8Linear)


def out_of_int8(model: Model) -> Model:
    """A copy with fp32's products again; `in_int8` of it has the same whole numbers."""
    return replaced(model, Int8Linear, Int8Linear.linear)


def is_int8(model: nn.Module) -> bool:
    return any(isinstance(part, Int8Linear) for part in model.modules())


def replaced(model: Model, old: type, make: Callable[[Any], nn.Module]) -> Model:
    """A copy with other modules in place of those of a class, but for the heads'."""
    made = copy.deepcopy(model)
    for name, part in [*made.named_modules()]:
        if isinstance(part, old) and name.split(".")[0] != "heads":
            parent, _, attribute = name.rpartition(".")
            setattr(made.get_submodule(parent), attribute, make(part))
    return made
