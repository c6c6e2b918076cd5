"""Products of int8.py in onnxruntime: the same integers, with a scale for each row.

onnxruntime's own dynamic quantisation has one scale for all rows, so that an answer would depend on
the rest of the batch. MatMulNBits has a scale for each row too, but took twice as long from 24 rows
on. onnxruntime is slow for a signed left side, so 128 is added to it and subtracted in the product.

Shapes: N packed tokens, K width in, M width out.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.int8 import STEPS, TINY, Int8Linear, in_int8, replaced

ZERO = 128


class Product(nn.Module):
    """An `Int8Linear` that can only be traced."""

    shrink_K: Tensor | None

    def __init__(self, linear: Int8Linear):
        super().__init__()
        self.weight_KM = nn.Buffer(linear.weight.t().contiguous())
        self.scale_M, self.bias_M = nn.Buffer(linear.scale), nn.Buffer(linear.bias)
        self.register_buffer("shrink_K", linear.shrink)
        self.zero = nn.Buffer(torch.tensor(ZERO, dtype=torch.uint8))

    def forward(self, x_NK: Float[Tensor, "n k"]) -> Float[Tensor, "n m"]:
        x_NK = x_NK if self.shrink_K is None else x_NK * self.shrink_K
        scale_N = x_NK.abs().amax(-1).mul(1 / STEPS).clamp(min=TINY)
        whole_NK = torch.onnx.ops.symbolic(
            "QuantizeLinear",
            (x_NK, scale_N, self.zero.expand(scale_N.shape)),
            {"axis": 0},
            dtype=torch.uint8,
            shape=x_NK.shape,
        )
        product_NM = torch.onnx.ops.symbolic(
            "MatMulInteger",
            (whole_NK, self.weight_KM, self.zero),
            dtype=torch.int32,
            shape=(x_NK.shape[0], self.weight_KM.shape[1]),
        )
        if isinstance(x_NK.shape[0], int) and x_NK.shape[0] == 1:  # a head's, of one example
            # onnxruntime makes one operation of this form.
            return product_NM.float() * (scale_N * self.scale_M) + self.bias_M
        return product_NM.float() * self.scale_M * scale_N[:, None] + self.bias_M


def for_graphs(encoder: AdaptiveEncoder) -> AdaptiveEncoder:
    """Return an int8 copy of an encoder, for tracing."""
    return replaced(in_int8(encoder), Int8Linear, Product)
