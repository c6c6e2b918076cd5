"""What is measured: an encoder of random weights, seen densely, by the window, and pruned; and the
attention product alone.

Shapes: N packed tokens, H heads, K head width.
"""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from eat_lightning.methods.attention.dense import Dense
from eat_lightning.methods.attention.longformer import Longformer
from eat_lightning.methods.exit.never import Never
from eat_lightning.methods.reduction.none import Keep
from eat_lightning.methods.reduction.norm_topk import NormTopK
from eat_lightning.model.contracts import Kernel, Pattern, Where
from eat_lightning.model.encoder import AdaptiveEncoder, Shape, with_slots
from eat_lightning.model.packed import Batch, Layout

DENSE, WINDOW, PRUNED = "dense", "window", "window, pruned"
DENSE_PRODUCT, WINDOW_PRODUCT = "dense product", "window product"
NUM_LABELS = 2


class Clocked:
    """A pattern whose product is timed within the encoder, which calls it as it would anyway.

    `milliseconds`: since they were last set to 0."""

    def __init__(self, pattern: Pattern):
        self.pattern, self.milliseconds = pattern, 0.0

    def sees(self, q: Where, k: Where) -> Bool[Tensor, ...]:
        return self.pattern.sees(q, k)

    def sees_all(self, longest: int, layer: int) -> bool:
        return self.pattern.sees_all(longest, layer)

    def pairs(self, lengths: np.ndarray, layer: int) -> np.ndarray:
        counted = getattr(self.pattern, "pairs", None)
        return lengths**2 if counted is None else counted(lengths, layer)

    def kernel(self, layout: Layout, layer: int) -> Kernel:
        own = getattr(self.pattern, "kernel", lambda layout, layer: None)(layout, layer)
        product = own or Masked(self.pattern, layer)

        def timed(qkv_N3HK: Tensor, layout: Layout, dropout: float) -> Tensor:
            start = perf_counter()
            mixed_NHK = product(qkv_N3HK, layout, dropout)
            self.milliseconds += (perf_counter() - start) * 1e3
            return mixed_NHK

        return timed


class Masked:
    """The product of the whole matrix, for examples of one length; without a mask where the pattern
    hides nothing."""

    def __init__(self, pattern: Pattern, layer: int):
        self.pattern, self.layer = pattern, layer

    def __call__(
        self, qkv_N3HK: Float[Tensor, "n 3 h k"], layout: Layout, dropout: float
    ) -> Float[Tensor, "n h k"]:
        assert layout.even
        q, k, v = layout.pad(qkv_N3HK).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=self.mask(layout))
        return layout.unpad(mixed.transpose(1, 2))

    def mask(self, layout: Layout) -> Bool[Tensor, "l l"] | None:
        length, layer = layout.longest, self.layer
        if self.pattern.sees_all(length, layer):
            return None
        return layout.cached(("masked", layer), lambda: seen(self.pattern, length, layer))


def seen(pattern: Pattern, length: int, layer: int) -> Bool[Tensor, "l l"]:
    place, whole = torch.arange(length), torch.tensor(length)
    q = Where(place[:, None], place[:, None], whole, layer)
    return pattern.sees(q, Where(place[None], place[None], whole, layer))


class WithoutKernel(Longformer):
    """The window as its definition says it: a mask on the whole product."""

    def kernel(self, layout: Layout, layer: int) -> Kernel | None:
        return None


def body(sizes: dict[str, Any], longest: int, seed: int) -> AdaptiveEncoder:
    """A head at each layer. Matrices of 0.05 and unequal gammas: with BERT's 0.02 every attention
    is near the mean, and with equal gammas all norms tie, so that nothing would be checked."""
    shape = Shape(**sizes, max_positions=longest)
    torch.manual_seed(seed)
    layers = list(range(1, shape.num_layers + 1))
    nothing: Any = Keep()
    encoder = AdaptiveEncoder(shape, NUM_LABELS, Dense(), nothing, Never(), {"layers": layers})
    with torch.no_grad():
        for name, weight in encoder.named_parameters():
            if weight.ndim == 1:
                weight.add_(0.2 * torch.randn_like(weight) * ("norm" in name))
            else:
                weight.normal_(std=0.05)
    return encoder.eval()


def subject(encoder: AdaptiveEncoder, name: str, window: int, ratio: float) -> AdaptiveEncoder:
    """The same weights by name, with a clock at the attention product."""
    pattern = Dense() if name == DENSE else Longformer(window)
    reduction = pruning(encoder.shape, ratio) if name == PRUNED else Keep()
    return with_slots(encoder, attention=Clocked(pattern), reduction=reduction, exit=Never())


def pruning(shape: Shape, ratio: float) -> NormTopK:
    """After a third and two thirds of the layers, as after 2 and 4 of the paper's 6."""
    return NormTopK(ratio, [shape.num_layers // 3, 2 * shape.num_layers // 3])


def text(lengths: Sequence[int], vocab_size: int) -> Batch:
    """Examples of random words."""
    random = np.random.default_rng(sum(lengths))
    return Batch.from_lists([random.integers(1, vocab_size, n).tolist() for n in lengths])
