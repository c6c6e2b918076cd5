"""An encoder for inference with weights in the layout of oneDNN's kernels.

An ordinary product reorders its weights in every call, which for the two dozen tokens of a sentence
takes as long as the multiplication. Prepacked sums are added in another order, so logits differ in
their last bits. It uses PyTorch's own operators (those of inductor's freezing), and fuses a
following GELU or sum.
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
    """A linear map whose weight can no longer be read or trained.

    Args:
        then: fused activation, "none", "gelu" or "tanh". With "none" a sum can be fused.
    """

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
    """Return a copy in evaluation mode with prepacked matrices in its layers, and in bf16 also in
    its heads' dense layers. It shares embeddings, norms and slots, which are put into evaluation
    mode too. `cannot_in` says where prepacking is not supported.
    """
    layers = encoder.layers.each(layer_of)
    return sharing(encoder, layers=layers, heads=heads_of(encoder)).eval()


def cannot_in(dtype: str, device: str = "cpu") -> str | None:
    """Explain, before weights are loaded, why they could not be prepacked; None if they can."""
    if device != "cpu":
        return f"prepacked weights are for a processor, got {device}"
    if dtype == "int8":
        return "int8 products pack their own weights"
    if not torch.backends.mkldnn.is_available():
        return "prepacked weights need a PyTorch that has oneDNN"
    bf16_able: Any = torch.ops.mkldnn._is_mkldnn_bf16_supported
    if dtype == "bf16" and not bf16_able():
        return "oneDNN has no bf16 products on this processor"
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
    """Return heads with prepacked dense layers and fused tanh, where that is faster.

    In bf16, a plain product reorders its weights for the single row of a sentence (total time 1.3
    to 1.4 times as long). In fp32 it reads them directly and is the faster one.
    """
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
