"""Scale a gradient on its way back, and nothing on the way forward."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from eat_lightning.model.packed import Packed


class Scaled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0] * ctx.factor, None


def scaled_gradient(packed: Packed, factor: float) -> Packed:
    """The same vectors, whose gradient is multiplied by `factor`; 0 stops it."""
    if factor == 1.0:
        return packed
    if factor == 0.0:
        return packed.with_x(packed.x_ND.detach())
    return packed.with_x(Scaled.apply(packed.x_ND, factor))  # type: ignore[arg-type]
