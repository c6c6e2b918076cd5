"""An encoder for inference whose weights lie as oneDNN's kernels want them, arranged once.

An ordinary product arranges its weights anew at every call, which for the two dozen tokens of a
single sentence takes as long as the multiplying. Sums are taken in another order: logits differ in
their last bits. PyTorch's own operators do it (those that inductor's freezing calls), and a GELU or
a sum that follows is applied to what is still in the cache.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from eat_lightning.methods.head._vectors import VectorClassifier
from eat_lightning.model.encoder import AdaptiveEncoder
from eat_lightning.model.heads import ACTIVATIONS, Heads
from eat_lightning.model.layer import AddingLinear, plain, sharing

LINEARS = ("qkv", "out", "up", "down")
TYPICAL_ROWS = 32  # tokens that the arrangement is chosen for; any number may come


class PrepackedLinear(AddingLinear):
    """A linear map whose weight cannot be read or trained any more, `then` "none", "gelu" or
    "tanh". With "none" it adds."""

    def __init__(self, linear: nn.Linear, then: str = "none", rows: int = TYPICAL_ROWS):
        super().__init__()
        self.then, self.adds = then, then == "none"
        arrange: Any = torch.ops.mkldnn._reorder_linear_weight
        with torch.no_grad():
            self.weight_in_blocks = arrange(linear.weight.detach(), rows)
        self.bias = linear.bias

    def forward(
        self, x_ND: Float[Tensor, "n d"], to_NM: Float[Tensor, "n m"] | None = None
    ) -> Float[Tensor, "n m"]:
        multiply: Any = torch.ops.mkldnn._linear_pointwise
        if to_NM is not None:
            return multiply.binary(x_ND, to_NM, self.weight_in_blocks, self.bias, "add")
        algorithm = "none" if self.then == "gelu" else ""  # not the tanh that comes near it
        return multiply(x_ND, self.weight_in_blocks, self.bias, self.then, [], algorithm)


def prepacked(encoder: AdaptiveEncoder) -> AdaptiveEncoder:
    """A copy in evaluation mode that shares embeddings, norms and slots (which are then in that
    mode too), with the matrices of its layers prepacked, and in bf16 those of its heads' dense
    layers. `cannot_in` says where that cannot be."""
    layers = encoder.layers.each(layer_of)
    return sharing(encoder, layers=layers, heads=heads_of(encoder)).eval()


def cannot_in(dtype: str, device: str = "cpu") -> str | None:
    """Tell why weights could not be prepacked, before any are loaded: by a command's `dtype` and
    `device`."""
    if device != "cpu":
        return f"prepacked weights are for a processor, got {device}"
    if dtype == "int8":
        return "int8 products arrange their weights by themselves"
    if not torch.backends.mkldnn.is_available():
        return "prepacked weights need a PyTorch that has oneDNN"
    bf16_able: Any = torch.ops.mkldnn._is_mkldnn_bf16_supported
    if dtype == "bf16" and not bf16_able():
        return "oneDNN multiplies no bf16 on this processor"
    return None


def layer_of(layer: Any) -> nn.Module:
    fused = layer.act is ACTIVATIONS["gelu"] and layer.inner is plain  # a gate is not activated
    linears = {
        name: PrepackedLinear(
            layer.get_submodule(name), "gelu" if fused and name == "up" else "none"
        )
        for name in LINEARS
    }
    return sharing(layer, **linears, act=nn.Identity() if fused else layer.act)


def heads_of(encoder: AdaptiveEncoder) -> Heads:
    """Heads with their dense layers prepacked, tanh within the product, where that pays: of bf16 a
    plain product arranges its weights anew for the one row of a sentence (1.3 to 1.4 times the time
    in all), of fp32 it reads them as they are and is the faster one."""
    if encoder.embedding.word.weight.dtype != torch.bfloat16:
        return encoder.heads
    made: dict[nn.Linear, PrepackedLinear] = {}  # heads may share one
    heads = {}
    for number, head in encoder.heads.by_layer.items():
        dense = head.dense if isinstance(head, VectorClassifier) else None
        if type(dense) is nn.Linear and head.act is torch.tanh:
            made[dense] = made.get(dense) or PrepackedLinear(dense, "tanh")
            head = sharing(head, dense=made[dense], act=nn.Identity())
        heads[number] = head
    return Heads(heads)
